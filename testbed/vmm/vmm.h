/* SPDX-License-Identifier: GPL-2.0 */
#ifndef VMM_H
#define VMM_H

#include <setjmp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PAGE_SIZE	4096UL
#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))

/*
 * The guest's physical memory, as the device tree in testbed/dts says it too:
 *
 *	0x08000000  GICv3 distributor            64 kB, in the kernel
 *	0x08080000  GICv3 ITS                    not there
 *	0x080a0000  GICv3 redistributors         128 kB a vcpu, in the kernel
 *	0x09000000  UART                         4 kB, interrupt SPI 1
 *	0x0a000000  virtio-mmio, MAX_DISKS of    4 kB each, interrupts SPI 16...
 *	0x0b000000  mailbox                      4 kB
 *	0x40000000  RAM ----------------------------------------------------
 *	            + 0          kernel Image (2 MB aligned)
 *	            + 32 MB      device tree
 *	            + 34 MB      initramfs
 *	            ...          free, or pools of the device tree's
 *	            + mem        end
 */
#define GICD_BASE	0x08000000UL
#define GICR_BASE	0x080a0000UL
#define UART_BASE	0x09000000UL
#define VIRTIO_BASE	0x0a000000UL
#define RAM_BASE	0x40000000UL
#define DTB_OFFSET	(32UL << 20)
#define INITRD_OFFSET	(34UL << 20)

#define UART_IRQ	33	/* SPI 1 */
#define VIRTIO_IRQ	48	/* SPI 16 */

#define MAX_VCPUS	8
#define MAX_DISKS	4
#define MAX_OWNERS	64

/* Exit statuses, those of the whole project */
enum status {
	STATUS_PASS	= 0,
	STATUS_FAIL	= 1,	/* a test failed */
	STATUS_CRASH	= 3,	/* panic, oops, or a device met a private page */
	STATUS_TIMEOUT	= 124,
	STATUS_SETUP	= 125,	/* it could not even start */
};

/* ---- devices ---- */

struct device;

/**
 * struct device_ops - what a device does
 * @read:	a read of @size bytes (1, 2, 4, 8) at @offset
 * @write:	a write of the same
 * @describe:	says its state in one line for a report, may be NULL
 *
 * All are called with the VMM's lock held.
 */
struct device_ops {
	uint64_t (*read)(struct device *dev, uint64_t offset, unsigned int size);
	void (*write)(struct device *dev, uint64_t offset, uint64_t val,
		      unsigned int size);
	void (*describe)(struct device *dev, char *buf, size_t size);
};

struct device {
	const char *name;
	uint64_t base, size;
	unsigned int irq;	/* GIC interrupt number, 0: none */
	const struct device_ops *ops;
};

int device_add(struct device *dev);
struct device *device_find(uint64_t addr);
struct device *device_next(struct device *dev);
/* What the machine provides for devices; vm.c, or the unit tests */
void device_irq(struct device *dev, bool level);

/* ---- memory and audit (memory.c) ---- */

struct guest_memory {
	uint64_t base, size;
	uint8_t *host;
	uint8_t *donated;	/* one byte a page: known to be the guest's */
	int pagemap;
};

struct range {
	uint64_t addr;
	uint64_t pages;
};

struct audit {
	uint64_t visible;	/* pages the host can read */
	uint64_t owned;		/* pages given to the guest so far */
	uint64_t locked;	/* the same by the kernel's account, VmLck */
	uint64_t us;		/* what the audit took */
	size_t nr_ranges;
	struct range *ranges;	/* of visible pages, ascending */
};

int memory_init(uint64_t base, uint64_t size);
int memory_load(uint64_t addr, const char *path);
uint64_t memory_size(void);
void *memory_host(void);
int guest_read(const struct device *dev, const char *what, uint64_t addr,
	       void *buf, size_t len);
int guest_write(const struct device *dev, const char *what, uint64_t addr,
		const void *buf, size_t len);
int memory_peek(uint64_t addr, void *buf, size_t len);
int audit_range(uint64_t addr, uint64_t bytes, struct audit *audit);
void audit_free(struct audit *audit);

/* ---- the canary (search.c, canary.h) ---- */

/**
 * struct watch - what the thread that looks on is looking for, and has seen
 * @word:	the canary, 0 for none
 * @addr:	of the range that it looks at
 * @pages:	its length
 * @rounds:	how often it has looked at all of it
 * @looks:	how many times it has looked at a page of the range
 * @visible:	in how many of these it could see the page
 * @found:	how many times it has seen the canary, there or anywhere
 * @bytes:	the most bytes of it in one page
 * @last:	the page where it was seen last
 */
struct watch {
	uint64_t word, addr, pages;
	uint64_t rounds, looks, visible;
	uint64_t found, bytes, last;
};

int search_canary(uint64_t word, uint64_t addr, uint64_t bytes,
		  void (*found)(uint64_t addr), uint64_t *count);
int watch_canary(uint64_t word, uint64_t addr, uint64_t bytes, struct watch *last);

/* ---- whose pages (report.c) ---- */

int owner_add(const char *name, uint64_t addr, uint64_t bytes);
const char *owner_name(uint64_t addr, uint64_t *end);
void report(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void report_text(const char *prefix, const char *text, size_t len);
void report_map(const struct audit *audit, const char *title);
void report_private(const struct device *dev, const char *what, uint64_t addr,
		    const char *access, const char *why);
uint64_t now_us(void);

/* ---- the machine (vm.c) ---- */

int vm_create(unsigned int vcpus, bool protected);
int vm_run(uint64_t entry, uint64_t dtb, unsigned int timeout);
void vm_stop(enum status status, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
int vm_pause(void);

/* What the guest has written on its log disk goes to the console (main.c) */
void guest_log(void);

/* ---- devices ---- */

int uart_init(void);
bool uart_crashed(void);
void uart_flush(void);
void uart_panic_due(bool due);
int mailbox_init(void);
void mailbox_totals(unsigned int *passed, unsigned int *failed,
		    unsigned int *skipped);
bool mailbox_kernel_awaited(void);
bool mailbox_kernel_crashed(void);

struct disk;

/* What a disk does with requests for data */
enum disk_mode {
	DISK_GOOD,
	DISK_FAILS,	/* an I/O error, nothing moved */
	DISK_SHORT,	/* an I/O error, the first half moved */
	DISK_LIES,	/* no error, nothing moved */
};

int disk_init(unsigned int nr, const char *name, uint64_t sectors,
	      uint32_t block, uint32_t segments);
struct disk *disk_get(uint64_t nr);
void *disk_data(struct disk *disk, uint64_t sector, uint64_t sectors);
void disk_hold(struct disk *disk, bool hold);
void disk_stats(struct disk *disk, uint64_t stats[3]);
void disk_mode(struct disk *disk, enum disk_mode mode);
bool disk_queue(struct disk *disk, uint64_t parts[6]);

#endif
