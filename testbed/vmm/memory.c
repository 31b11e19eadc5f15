// SPDX-License-Identifier: GPL-2.0
/*
 * The guest's memory: the only way to it, and the audit.
 *
 * A page that the guest owns is not mapped for user space: touching it raises
 * SIGSEGV and does no harm.  So the hypervisor itself answers which pages are
 * shared, one page at a time, by letting a read through or not.
 *
 * Two rules keep that answer exact:
 * - a page that the guest has never had must not be touched, or it would look
 *   like a shared one.  /proc/self/pagemap (Documentation/admin-guide/mm/
 *   pagemap.rst) tells: a page given to the guest is present, anonymous
 *   (bit 61 clear) and mapped once (bit 56).  The kernel Image, device tree and
 *   initramfs are file pages until the guest writes or runs them.
 * - nothing here may pin a page (process_vm_readv(), O_DIRECT ...): the host's
 *   kernel would take it from the guest by force, zeroed.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm.h"

#define PAGEMAP_PRESENT		(1ULL << 63)
#define PAGEMAP_FILE		(1ULL << 61)
#define PAGEMAP_EXCLUSIVE	(1ULL << 56)

static struct guest_memory ram;

/* Where to go on after a fault in the guest's memory, per thread */
static __thread sigjmp_buf *recover;

static void on_fault(int sig, siginfo_t *info, void *context)
{
	static const char own[] = "vmm: a bad access of the VMM's own\n";
	uint8_t *addr = info->si_addr;

	(void)context;
	if (recover && addr >= ram.host && addr < ram.host + ram.size)
		siglongjmp(*recover, 1);
	if (write(STDOUT_FILENO, own, sizeof(own) - 1) > 0)
		fsync(STDOUT_FILENO);
	/* The same access again ends it */
	signal(sig, SIG_DFL);
}

/**
 * memory_init - reserve the guest's memory
 * @base: guest physical address, page aligned
 * @size: bytes, page aligned
 *
 * Return: 0 or a negative errno.
 */
int memory_init(uint64_t base, uint64_t size)
{
	struct sigaction sa = { .sa_sigaction = on_fault,
				.sa_flags = SA_SIGINFO | SA_NODEFER };

	ram.host = mmap(NULL, size, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (ram.host == MAP_FAILED)
		return -errno;
	/* A huge page would be given to the guest, and seen, as a whole */
	if (madvise(ram.host, size, MADV_NOHUGEPAGE) && errno != EINVAL)
		return -errno;
	ram.donated = calloc(size / PAGE_SIZE, 1);
	if (!ram.donated)
		return -ENOMEM;
	ram.pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	if (ram.pagemap < 0)
		return -errno;
	ram.base = base;
	ram.size = size;
	/* Which of the two a protected page raises is the host kernel's choice */
	if (sigaction(SIGSEGV, &sa, NULL) || sigaction(SIGBUS, &sa, NULL))
		return -errno;
	return 0;
}

/**
 * memory_load - map a file over the guest's memory
 * @addr: guest physical address, page aligned
 * @path: the file
 *
 * Mapped and not read, so that its pages do not count as the guest's before
 * the guest has touched them.
 *
 * Return: 0 or a negative errno; -ENOSPC if the file does not fit.
 */
int memory_load(uint64_t addr, const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), err = 0;
	struct stat st;
	void *p;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st)) {
		err = -errno;
	} else if (addr < ram.base || (uint64_t)st.st_size > ram.size ||
		   addr - ram.base > ram.size - st.st_size) {
		err = -ENOSPC;
	} else {
		p = mmap(ram.host + (addr - ram.base), st.st_size,
			 PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, fd, 0);
		if (p == MAP_FAILED)
			err = -errno;
	}
	close(fd);
	return err;
}

uint64_t memory_size(void)
{
	return ram.size;
}

void *memory_host(void)
{
	return ram.host;
}

/* Reads the pagemap entries of @pages pages from page @first on */
static int read_pagemap(uint64_t first, uint64_t pages, uint64_t *entries)
{
	size_t bytes = pages * sizeof(*entries), done = 0;
	off_t pos = ((uintptr_t)ram.host / PAGE_SIZE + first) * sizeof(*entries);

	while (done < bytes) {
		ssize_t n = pread(ram.pagemap, (char *)entries + done,
				  bytes - done, pos + done);

		if (n <= 0)
			return n ? -errno : -EIO;
		done += n;
	}
	return 0;
}

static bool entry_donated(uint64_t entry)
{
	return (entry & PAGEMAP_PRESENT) && !(entry & PAGEMAP_FILE) &&
	       (entry & PAGEMAP_EXCLUSIVE);
}

/* Was this page ever the guest's?  Once it was, it stays so. */
static bool page_donated(uint64_t page)
{
	uint64_t entry;

	if (!ram.donated[page] && !read_pagemap(page, 1, &entry))
		ram.donated[page] = entry_donated(entry);
	return ram.donated[page];
}

/* Copies within one page.  Return: 0 or -EACCES if the page is private. */
static int copy_in_page(uint8_t *host, void *buf, size_t len, bool write)
{
	sigjmp_buf here;

	if (sigsetjmp(here, 0)) {
		recover = NULL;
		return -EACCES;
	}
	recover = &here;
	if (write)
		memcpy(host, buf, len);
	else
		memcpy(buf, host, len);
	/* The copy may not move past the end of the protected section */
	__asm__ volatile("" ::: "memory");
	recover = NULL;
	return 0;
}

static int guest_access(const struct device *dev, const char *what,
			uint64_t addr, void *buf, size_t len, bool write)
{
	const char *access = write ? "write" : "read";
	uint8_t *p = buf;

	if (addr < ram.base || len > ram.size ||
	    addr - ram.base > ram.size - len) {
		report_private(dev, what, addr, access, "it is not memory");
		return -ERANGE;
	}
	while (len) {
		uint64_t offset = addr - ram.base;
		size_t chunk = PAGE_SIZE - offset % PAGE_SIZE;

		if (chunk > len)
			chunk = len;
		if (!page_donated(offset / PAGE_SIZE)) {
			report_private(dev, what, addr, access,
				       "the guest has never touched it");
			return -EACCES;
		}
		if (copy_in_page(ram.host + offset, p, chunk, write)) {
			report_private(dev, what, addr, access,
				       "the guest has not shared it");
			return -EACCES;
		}
		addr += chunk;
		p += chunk;
		len -= chunk;
	}
	return 0;
}

/**
 * guest_read - a device reads guest memory
 * @dev: the device, for the report
 * @what: what it reads, for the report: "available ring", "data" ...
 * @addr: guest physical address
 * @buf: where to
 * @len: bytes
 *
 * This and guest_write() are the only ways from a device to the guest's
 * memory.  A page that the device cannot reach is reported by them.
 *
 * Return: 0; -EACCES if a page is private; -ERANGE if it is not memory.
 */
int guest_read(const struct device *dev, const char *what, uint64_t addr,
	       void *buf, size_t len)
{
	return guest_access(dev, what, addr, buf, len, false);
}

/* guest_write - a device writes guest memory; see guest_read() */
int guest_write(const struct device *dev, const char *what, uint64_t addr,
		const void *buf, size_t len)
{
	return guest_access(dev, what, addr, (void *)buf, len, true);
}

/**
 * memory_peek - look at what a device would not be told of
 * @addr: guest physical address; all bytes are in one page
 * @buf: for what is there
 * @len: bytes
 *
 * Return: 0, or -EACCES if the host cannot see it now, of which nothing is said.
 */
int memory_peek(uint64_t addr, void *buf, size_t len)
{
	uint64_t offset = addr - ram.base;

	if (offset >= ram.size || !page_donated(offset / PAGE_SIZE))
		return -EACCES;
	return copy_in_page(ram.host + offset, buf, len, false);
}

static bool page_visible(uint64_t page)
{
	uint8_t byte;

	return !copy_in_page(ram.host + page * PAGE_SIZE, &byte, 1, false);
}

/* The kernel accounts every page that it gives to a protected guest here */
static uint64_t locked_pages(void)
{
	unsigned long kb = 0;
	char line[128];
	FILE *f = fopen("/proc/self/status", "re");

	if (!f)
		return 0;
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "VmLck: %lu kB", &kb) == 1)
			break;
	fclose(f);
	return kb / (PAGE_SIZE / 1024);
}

static int add_page(struct audit *audit, uint64_t addr)
{
	struct range *last;

	audit->visible++;
	if (audit->nr_ranges) {
		last = audit->ranges + audit->nr_ranges - 1;
		if (last->addr + last->pages * PAGE_SIZE == addr) {
			last->pages++;
			return 0;
		}
	}
	/* Room for 64 more at every 64th */
	if (audit->nr_ranges % 64 == 0) {
		size_t size = (audit->nr_ranges + 64) * sizeof(*last);

		last = realloc(audit->ranges, size);
		if (!last)
			return -ENOMEM;
		audit->ranges = last;
	}
	audit->ranges[audit->nr_ranges++] = (struct range){ addr, 1 };
	return 0;
}

/**
 * audit_range - find the guest's pages that the host can see
 * @addr: guest physical address; the first page is the one that holds it
 * @bytes: length, 0 for all memory from @addr on
 * @audit: what was found; audit_free() when done, also after an error
 *
 * The answer is of one instant only if no vcpu runs: see vm_pause().
 *
 * Return: 0 or a negative errno.
 */
int audit_range(uint64_t addr, uint64_t bytes, struct audit *audit)
{
	uint64_t start = now_us(), first, pages, i, *entries;
	int err;

	memset(audit, 0, sizeof(*audit));
	if (!addr)
		addr = ram.base;
	if (addr < ram.base || addr - ram.base >= ram.size)
		return -ERANGE;
	if (!bytes)
		bytes = ram.base + ram.size - addr;
	if (bytes > ram.base + ram.size - addr)
		return -ERANGE;
	first = (addr - ram.base) / PAGE_SIZE;
	pages = (addr - ram.base + bytes + PAGE_SIZE - 1) / PAGE_SIZE - first;

	entries = malloc(pages * sizeof(*entries));
	if (!entries)
		return -ENOMEM;
	err = read_pagemap(first, pages, entries);
	for (i = 0; i < pages && !err; i++) {
		if (!entry_donated(entries[i]))
			continue;
		audit->owned++;
		if (page_visible(first + i))
			err = add_page(audit, ram.base + (first + i) * PAGE_SIZE);
	}
	free(entries);
	audit->locked = locked_pages();
	audit->us = now_us() - start;
	return err;
}

void audit_free(struct audit *audit)
{
	free(audit->ranges);
	memset(audit, 0, sizeof(*audit));
}
