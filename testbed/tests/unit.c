// SPDX-License-Identifier: GPL-2.0
/* Unit tests of the VMM's memory, audit and devices; no KVM needed */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "../vmm/canary.h"
#include "../vmm/mailbox.h"
#include "../vmm/virtio.h"
#include "fake.h"

static unsigned int passed, failed;
static bool test_ok;

#define CHECK(cond) do {						\
	if (!(cond)) {							\
		fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond); \
		test_ok = false;					\
	}								\
} while (0)

static const struct device nobody = { .name = "nobody" };

/* Pages of the fake memory, by their use */
#define PAGE(n)		(RAM_BASE + (n) * PAGE_SIZE)
#define DESC		PAGE(200)
#define AVAIL		PAGE(201)
#define USED		PAGE(202)
#define HEADER		PAGE(203)
#define DATA		PAGE(204)
#define STATUS		PAGE(220)
#define INDIRECT	PAGE(221)
#define PRIVATE		PAGE(240)

static void test_memory(void)
{
	char buf[2 * PAGE_SIZE];

	/* Never touched */
	CHECK(guest_read(&nobody, "t", PAGE(0), buf, 1) == -EACCES);
	memset(fake_guest(PAGE(1)), 1, 2 * PAGE_SIZE);
	CHECK(!guest_read(&nobody, "t", PAGE(1) + 5, buf, PAGE_SIZE + 7));
	CHECK(buf[0] == 1 && buf[PAGE_SIZE + 6] == 1);
	memset(buf, 2, sizeof(buf));
	CHECK(!guest_write(&nobody, "t", PAGE(2) - 1, buf, 2));
	CHECK(*(char *)fake_guest(PAGE(2) - 1) == 2 && *(char *)fake_guest(PAGE(2)) == 2);
	CHECK(*(char *)fake_guest(PAGE(2) + 1) == 1);
	/* Into a page that was never touched: the first one's part is written */
	CHECK(guest_write(&nobody, "t", PAGE(3) - 1, buf, 2) == -EACCES);
	fake_private(PAGE(1), 1, true);
	CHECK(guest_read(&nobody, "t", PAGE(1), buf, 1) == -EACCES);
	CHECK(guest_write(&nobody, "t", PAGE(1), buf, 1) == -EACCES);
	CHECK(!guest_read(&nobody, "t", PAGE(2), buf, 1));
	CHECK(guest_read(&nobody, "t", PAGE(2) - 1, buf, 2) == -EACCES);
	fake_private(PAGE(1), 1, false);
	CHECK(!guest_read(&nobody, "t", PAGE(1), buf, 1));
	/* Nothing at all is always possible, outside is not */
	CHECK(!guest_read(&nobody, "t", RAM_BASE, buf, 0));
	CHECK(guest_read(&nobody, "t", RAM_BASE - 1, buf, 1) == -ERANGE);
	CHECK(guest_read(&nobody, "t", RAM_BASE + FAKE_MEMORY, buf, 1) == -ERANGE);
	CHECK(guest_read(&nobody, "t", RAM_BASE + FAKE_MEMORY - 1, buf, 2) == -ERANGE);
	CHECK(guest_read(&nobody, "t", UINT64_MAX, buf, 2) == -ERANGE);
	CHECK(guest_read(&nobody, "t", RAM_BASE, buf, SIZE_MAX) == -ERANGE);
	CHECK(guest_read(&nobody, "t", 0, buf, 1) == -ERANGE);
}

static void test_audit(void)
{
	struct audit a;
	unsigned int i;

	for (i = 10; i < 20; i++)
		*(char *)fake_guest(PAGE(i)) = 1;
	fake_private(PAGE(12), 3, true);
	CHECK(!audit_range(PAGE(10), 10 * PAGE_SIZE, &a));
	CHECK(a.owned == 10 && a.visible == 7 && a.nr_ranges == 2);
	CHECK(a.ranges[0].addr == PAGE(10) && a.ranges[0].pages == 2);
	CHECK(a.ranges[1].addr == PAGE(15) && a.ranges[1].pages == 5);
	audit_free(&a);
	/* Not even the audit makes a page look touched */
	CHECK(!audit_range(PAGE(30), 10 * PAGE_SIZE, &a));
	CHECK(!a.owned && !a.visible && !a.nr_ranges);
	audit_free(&a);
	CHECK(!audit_range(PAGE(30), 10 * PAGE_SIZE, &a));
	CHECK(!a.owned);
	audit_free(&a);
	/* A byte of a page is a page; a byte more is one more */
	CHECK(!audit_range(PAGE(15) + 100, 1, &a));
	CHECK(a.visible == 1);
	audit_free(&a);
	CHECK(!audit_range(PAGE(15) + 4095, 2, &a));
	CHECK(a.visible == 2);
	audit_free(&a);
	/* More ranges than are made room for at once */
	for (i = 40; i < 190; i += 2)
		*(char *)fake_guest(PAGE(i)) = 1;
	CHECK(!audit_range(PAGE(40), 150 * PAGE_SIZE, &a));
	CHECK(a.nr_ranges == 75 && a.visible == 75);
	CHECK(a.ranges[74].addr == PAGE(188));
	audit_free(&a);
	CHECK(audit_range(RAM_BASE - 1, 1, &a) == -ERANGE);
	audit_free(&a);
	CHECK(audit_range(RAM_BASE + FAKE_MEMORY, 1, &a) == -ERANGE);
	audit_free(&a);
	CHECK(audit_range(PAGE(255), 2 * PAGE_SIZE, &a) == -ERANGE);
	audit_free(&a);
	CHECK(audit_range(PAGE(255), UINT64_MAX, &a) == -ERANGE);
	audit_free(&a);
	fake_private(PAGE(12), 3, false);
}

static void test_owners(void)
{
	uint64_t end;

	CHECK(!owner_name(0x1000, NULL));
	CHECK(!owner_add("large", 0x1000, 0x4000));
	CHECK(!owner_add("small", 0x2000, 0x1000));
	CHECK(!strcmp(owner_name(0x1fff, &end), "large") && end == 0x2000);
	CHECK(!strcmp(owner_name(0x2000, &end), "small") && end == 0x3000);
	CHECK(!strcmp(owner_name(0x3000, &end), "large") && end == 0x5000);
	CHECK(!owner_name(0x5000, NULL));
	CHECK(!owner_name(0xfff, &end) && end == 0x1000);
	CHECK(!owner_add("renamed", 0x2000, 0x1000));
	CHECK(!strcmp(owner_name(0x2000, NULL), "renamed"));
	CHECK(!owner_add("", 0x2000, 0x1000));
	CHECK(!strcmp(owner_name(0x2000, NULL), "large"));
	CHECK(!owner_add("", 0x1000, 0x4000));
	CHECK(!owner_name(0x2000, NULL));
	/* Round the end of memory, which the page map would never come out of */
	CHECK(owner_add("wraps", 0x1000, UINT64_MAX) < 0);
	CHECK(!owner_name(0x2000, NULL));
}

static void test_uart(void)
{
	const char *p;
	int i;

	/* Always ready to send, never anything received */
	CHECK(fake_read(UART_BASE + 0x18, 4) == ((1 << 7) | (1 << 4)));
	fake_write(UART_BASE + 0x38, 1 << 5, 4);
	CHECK(fake_irq && fake_read(UART_BASE + 0x40, 4) == 1 << 5);
	fake_write(UART_BASE + 0x38, 0, 4);
	CHECK(!fake_irq && fake_read(UART_BASE + 0x40, 4) == 0);
	for (p = "all is well\r\n"; *p; p++)
		fake_write(UART_BASE, *p, 1);
	CHECK(!uart_crashed());
	/* One panic is due, a second one is not */
	uart_panic_due(true);
	for (i = 0; i < 2; i++) {
		for (p = "Kernel panic - not"; *p; p++)
			fake_write(UART_BASE, *p, 1);
		CHECK(!uart_crashed());
		fake_write(UART_BASE, '\n', 1);
		CHECK(uart_crashed() == !!i);
	}
}

static void command(uint64_t nr, const uint64_t *args, size_t n)
{
	while (n--)
		fake_write(MAILBOX_BASE + MAILBOX_DATA, *args++, 8);
	fake_write(MAILBOX_BASE + MAILBOX_COMMAND, nr, 8);
}

static int64_t status(void)
{
	return fake_read(MAILBOX_BASE + MAILBOX_STATUS, 8);
}

static uint64_t word(void)
{
	return fake_read(MAILBOX_BASE + MAILBOX_DATA, 8);
}

static void test_canary(void)
{
	const uint64_t canary = 0xebe8edeaefe9eceeULL, other = 0xebe8edeaefe9ecefULL;
	uint8_t page[PAGE_SIZE] __attribute__((aligned(8)));
	unsigned int at, len, i;

	memset(page, 0, sizeof(page));
	CHECK(canary_count(page, sizeof(page), canary) == 0);
	for (i = 0; i < sizeof(page); i++)
		page[i] = canary_byte(canary, i);
	CHECK(canary_count(page, sizeof(page), canary) == sizeof(page));
	/* No order of all eight bytes: not a canary */
	CHECK(canary_count(page, sizeof(page), other) == 0);
	/* Any length, anywhere, turned by any number of bytes */
	for (at = 0; at < 9; at++)
		for (len = 0; len < 40; len++) {
			memset(page, 0xe8, sizeof(page));
			page[at + 31] = 0;
			for (i = 0; i < len; i++)
				page[at + 32 + i] = canary_byte(canary, at + i + 3);
			page[at + 32 + len] = 0;
			CHECK(canary_count(page, sizeof(page), canary) ==
			      (len < CANARY_RUN ? 0 : len));
		}
	for (len = 0; len < 40; len++) {
		memset(page, 0xff, sizeof(page));
		for (i = 0; i < len; i++)
			page[sizeof(page) - len + i] = canary_byte(canary, i);
		CHECK(canary_count(page, sizeof(page), canary) ==
		      (len < CANARY_RUN ? 0 : len));
	}
}

static void test_watch(void)
{
	const uint64_t canary = 0xe8e9eaebecedeeefULL;
	struct watch last = { 0 };
	unsigned int i;
	int err;

	for (i = 0; i < PAGE_SIZE / 8; i++)
		((uint64_t *)fake_guest(PAGE(21)))[i] = canary;
	fake_private(PAGE(21), 1, true);
	err = watch_canary(canary, PAGE(20), 2 * PAGE_SIZE, &last);
	if (err == -ENODEV)
		return;
	CHECK(!err && !last.word);
	CHECK(watch_canary(1, PAGE(20), PAGE_SIZE, &last) == -EINVAL);
	CHECK(watch_canary(canary, PAGE(20), UINT64_MAX, &last) == -ERANGE);
	/* Until it has looked */
	do {
		usleep(1000);
		CHECK(!watch_canary(canary, PAGE(20), 2 * PAGE_SIZE, &last));
	} while (!last.looks);
	CHECK(last.visible == last.looks / 2 && !last.found);
	fake_private(PAGE(21), 1, false);
	watch_canary(canary, PAGE(20), 2 * PAGE_SIZE, &last);
	do {
		usleep(1000);
		CHECK(!watch_canary(canary, PAGE(20), 2 * PAGE_SIZE, &last));
	} while (!last.looks);
	CHECK(last.visible == last.looks && last.bytes == PAGE_SIZE && last.last == PAGE(21));
	CHECK(!watch_canary(0, 0, 0, &last));
	memset(fake_guest(PAGE(21)), 0, PAGE_SIZE);
}

static void test_mailbox(void)
{
	unsigned int ok, not_ok, skipped, i;
	uint64_t result[2] = { 1, 0x74 };
	static const struct {
		uint64_t arg;
		int status;
		bool awaited;
	} kernel[] = {
		{ KERNEL_IS_HERE, -EINVAL, false },
		{ KERNEL_COMES_NEXT, 0, true },
		{ KERNEL_COMES_BY_PANIC, -EINVAL, true },
		{ KERNEL_IS_HERE, 0, false },
		{ KERNEL_IS_HERE, -EINVAL, false },
		{ 3, -EINVAL, false },
	};
	const uint64_t canary = 0xebe8edeaefe9eceeULL;

	CHECK(fake_read(MAILBOX_BASE, 8) == MAILBOX_MAGIC_VALUE);
	command(99, NULL, 0);
	CHECK(status() == -ENOSYS);
	for (i = 1; i <= MAILBOX_DISK_MODE; i++) {
		command(i, NULL, 0);
		CHECK(status() == (i == MAILBOX_LOG ? 0 : -EINVAL));
	}
	command(MAILBOX_RESULT, result, 2);
	CHECK(!status());
	result[0] = 3;
	command(MAILBOX_RESULT, result, 2);
	CHECK(status() == -EINVAL);
	mailbox_totals(&ok, &not_ok, &skipped);
	CHECK(ok == 0 && not_ok == 1 && skipped == 0);

	/* Nobody comes unannounced, and who is announced comes once */
	for (i = 0; i < ARRAY_SIZE(kernel); i++) {
		command(MAILBOX_KERNEL, &kernel[i].arg, 1);
		CHECK(status() == kernel[i].status);
		CHECK(mailbox_kernel_awaited() == kernel[i].awaited);
	}

	for (i = 0; i < MAILBOX_WORDS; i++)
		fake_write(MAILBOX_BASE + MAILBOX_DATA, 0x6161616161616161, 8);
	command(MAILBOX_OWNER, NULL, 0);
	CHECK(!status());
	for (i = 0; i < MAILBOX_WORDS + 100; i++)
		fake_write(MAILBOX_BASE + MAILBOX_DATA, 0x6161616161616161, 8);
	command(MAILBOX_LOG, NULL, 0);
	CHECK(status() == -E2BIG);
	/* and the one after it is not the worse for it */
	memset(fake_guest(PAGE(20)), 1, PAGE_SIZE);
	command(MAILBOX_AUDIT, (uint64_t[]){ PAGE(20), PAGE_SIZE }, 2);
	CHECK(!status() && fake_read(MAILBOX_BASE + MAILBOX_COUNT, 8) == 3);
	CHECK(word() == 1 && word() == 1 && word() == MAILBOX_RANGE(PAGE(20), 1));
	CHECK(word() == 0);

	command(MAILBOX_FILL, (uint64_t[]){ PAGE(20) + 3, 1000, 7 }, 3);
	CHECK(!status());
	CHECK(pattern_check(fake_guest(PAGE(20) + 3), 1000, 7) == 1000);
	CHECK(*(char *)fake_guest(PAGE(20) + 1003) == 1);
	*(char *)fake_guest(PAGE(20) + 500) ^= 1;
	command(MAILBOX_CHECK, (uint64_t[]){ PAGE(20) + 3, 1000, 7 }, 3);
	CHECK(!status() && word() == 497);
	command(MAILBOX_FILL, (uint64_t[]){ PAGE(20), UINT64_MAX, 7 }, 3);
	CHECK(status() == -EINVAL);
	command(MAILBOX_CHECK, (uint64_t[]){ PAGE(35), 1, 7 }, 3);
	CHECK(status() == -EACCES);
	/* Private pages are not searched, and not complained of */
	memset(fake_guest(PAGE(21)), 0, 5 * PAGE_SIZE);
	memcpy(fake_guest(PAGE(22) + 4088), &canary, 8);
	memcpy(fake_guest(PAGE(23)), &canary, 8);
	memcpy(fake_guest(PAGE(25)), &canary, 8);
	command(MAILBOX_SEARCH, (uint64_t[]){ canary, 0, 0 }, 3);
	CHECK(!status() && word() == 3 && word() == 24 &&
	      word() == MAILBOX_RANGE(PAGE(22), 2) && word() == MAILBOX_RANGE(PAGE(25), 1));
	fake_private(PAGE(22), 1, true);
	command(MAILBOX_SEARCH, (uint64_t[]){ canary, 0, 0 }, 3);
	CHECK(!status() && word() == 2 && word() == 16);
	fake_private(PAGE(22), 1, false);
	command(MAILBOX_SEARCH, (uint64_t[]){ canary, PAGE(23), PAGE_SIZE }, 3);
	CHECK(!status() && word() == 1 && word() == 8);
	command(MAILBOX_SEARCH, (uint64_t[]){ 0x746572636573, 0, 0 }, 3);
	CHECK(status() == -EINVAL);
	command(MAILBOX_DISK_MODE, (uint64_t[]){ 0, 4 }, 2);
	CHECK(status() == -EINVAL);
	command(MAILBOX_DISK_MODE, (uint64_t[]){ 1, 1 }, 2);
	CHECK(status() == -ENODEV);
	command(MAILBOX_DISK_FILL, (uint64_t[]){ 0, 2, 4, 9 }, 4);
	CHECK(!status());
	command(MAILBOX_DISK_CHECK, (uint64_t[]){ 0, 2, 4, 9 }, 4);
	CHECK(!status() && word() == 4 * 512);
	command(MAILBOX_DISK_CHECK, (uint64_t[]){ 0, 3, 4, 9 }, 4);
	CHECK(!status() && word() == 0);
	command(MAILBOX_DISK_FILL, (uint64_t[]){ 1, 0, 1, 0 }, 4);
	CHECK(status() == -ENODEV);
	command(MAILBOX_DISK_FILL, (uint64_t[]){ 0, 255, 2, 0 }, 4);
	CHECK(status() == -ERANGE);
	command(MAILBOX_DISK_FILL, (uint64_t[]){ 0, UINT64_MAX, 2, 0 }, 4);
	CHECK(status() == -ERANGE);
}

/* ---- virtio ---- */

struct desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags, next;
};

static struct desc *desc(uint64_t table, unsigned int n)
{
	return (struct desc *)fake_guest(table) + n;
}

static uint32_t vread(uint64_t reg)
{
	return fake_read(VIRTIO_BASE + reg, 4);
}

static void vwrite(uint64_t reg, uint32_t val)
{
	fake_write(VIRTIO_BASE + reg, val, 4);
}

static uint16_t *avail(void)
{
	return fake_guest(AVAIL);
}

static uint16_t *used(void)
{
	return fake_guest(USED);
}

/* The driver's part of 3.1.1, with a queue of @size */
static void set_up(unsigned int size)
{
	memset(fake_guest(DESC), 0, 3 * PAGE_SIZE);
	memset(fake_guest(HEADER), 0, PAGE_SIZE);
	memset(fake_guest(DATA), 0, 16 * PAGE_SIZE);
	memset(fake_guest(STATUS), 0xff, PAGE_SIZE);
	memset(fake_guest(INDIRECT), 0, PAGE_SIZE);
	fake_stops = 0;
	vwrite(0x70, 0);
	vwrite(0x70, 3);
	vwrite(0x24, 1);
	vwrite(0x20, 3);	/* VERSION_1, ACCESS_PLATFORM */
	vwrite(0x70, 11);
	vwrite(0x30, 0);
	vwrite(0x38, size);
	vwrite(0x80, DESC);
	vwrite(0x90, AVAIL);
	vwrite(0xa0, USED);
	vwrite(0x44, 1);
	vwrite(0x70, 15);
}

static void header(uint32_t type, uint64_t sector)
{
	memcpy(fake_guest(HEADER), &type, sizeof(type));
	memcpy((char *)fake_guest(HEADER) + 8, &sector, sizeof(sector));
}

/* Header, data, status at descriptor 0, 1, 2 */
static void request(uint32_t type, uint64_t sector, uint32_t len)
{
	header(type, sector);
	*desc(DESC, 0) = (struct desc){ HEADER, 16, 1, 1 };
	*desc(DESC, 1) = (struct desc){ DATA, len, 1 | (type ? 0 : 2), 2 };
	*desc(DESC, 2) = (struct desc){ STATUS, 1, 2, 0 };
}

static void kick(uint16_t head)
{
	avail()[2 + avail()[1] % 8] = head;
	avail()[1]++;
	vwrite(0x50, 0);
}

static uint8_t blk_status(void)
{
	return *(uint8_t *)fake_guest(STATUS);
}

/* Was the device broken by what came last, and does a reset mend it? */
static bool broken(void)
{
	bool was = (vread(0x70) & 64) && fake_stops == 1 && fake_status == STATUS_CRASH;

	vwrite(0x70, 0);
	return was && !(vread(0x70) & 64);
}

static void test_registers(void)
{
	CHECK(vread(0) == 0x74726976 && vread(4) == 2 && vread(8) == 2);
	vwrite(0x14, 1);
	CHECK((vread(0x10) & 3) == 3);
	vwrite(0x14, 2);
	CHECK(vread(0x10) == 0);
	CHECK(vread(0x34) == VIRTIO_QUEUE_MAX);
	vwrite(0x30, 1);
	CHECK(vread(0x34) == 0);
	vwrite(0x30, 0);
	CHECK(fake_read(VIRTIO_BASE + 0x100, 8) == 256);
	CHECK(fake_read(VIRTIO_BASE + 0xfff, 8) == 0);
	/* Without VERSION_1, and with what was not offered */
	vwrite(0x70, 0);
	vwrite(0x70, 11);
	CHECK(!(vread(0x70) & 8));
	vwrite(0x24, 1);
	vwrite(0x20, 0xffffffff);
	vwrite(0x70, 11);
	CHECK(!(vread(0x70) & 8));
	vwrite(0x20, 3);
	vwrite(0x70, 11);
	CHECK(vread(0x70) & 8);
	/* Sizes that a queue cannot have */
	vwrite(0x70, 0);
	fake_stops = 0;
	vwrite(0x38, 3);
	CHECK(broken());
	fake_stops = 0;
	vwrite(0x38, 256);
	CHECK(broken());
	fake_stops = 0;
	vwrite(0x38, 0);
	CHECK(broken());
	/* A kick of a device that nobody has set up */
	fake_stops = 0;
	vwrite(0x50, 0);
	vwrite(0x50, 7);
	CHECK(!fake_stops);
	/* Nothing moves under a queue in use */
	set_up(8);
	vwrite(0x80, 0);
	request(4, 0, 0);
	kick(0);
	CHECK(!fake_stops && blk_status() == 0);
}

static void test_requests(void)
{
	char *data = fake_guest(DATA);

	set_up(8);
	pattern_fill(data, 1024, 1);
	request(1, 3, 1024);
	kick(0);
	CHECK(!fake_stops && fake_irq && blk_status() == 0 && used()[1] == 1);
	CHECK(pattern_check(disk_data(disk_get(0), 3, 2), 1024, 1) == 1024);
	vwrite(0x64, vread(0x60));
	CHECK(!fake_irq);

	memset(data, 0, 1024);
	request(0, 3, 1024);
	/* The data in parts that do not end with a sector */
	*desc(DESC, 1) = (struct desc){ DATA, 100, 3, 4 };
	*desc(DESC, 4) = (struct desc){ DATA + 100, 924, 3, 2 };
	*(uint8_t *)fake_guest(STATUS) = 0xff;
	avail()[0] = 1;		/* no interrupt, please */
	kick(0);
	CHECK(!fake_stops && !fake_irq && blk_status() == 0 && used()[1] == 2);
	CHECK(pattern_check(data, 1024, 1) == 1024);
	CHECK(((uint32_t *)used())[1 + 2 * 1 + 1] == 1025);
	avail()[0] = 0;

	/* The same by an indirect table */
	memset(data, 0, 1024);
	*desc(INDIRECT, 0) = (struct desc){ HEADER, 16, 1, 1 };
	*desc(INDIRECT, 1) = (struct desc){ DATA, 1024, 3, 2 };
	*desc(INDIRECT, 2) = (struct desc){ STATUS, 1, 2, 0 };
	*desc(DESC, 5) = (struct desc){ INDIRECT, 48, 4, 0 };
	kick(5);
	CHECK(!fake_stops && used()[1] == 3);
	CHECK(pattern_check(data, 1024, 1) == 1024);

	/* What a disk refuses without being broken */
	request(0, 255, 1024);
	kick(0);
	CHECK(!fake_stops && blk_status() == 1);
	request(1, UINT64_MAX, 512);
	kick(0);
	CHECK(!fake_stops && blk_status() == 1);
	request(0, 0, 100);
	kick(0);
	CHECK(!fake_stops && blk_status() == 1);
	request(77, 0, 512);
	kick(0);
	CHECK(!fake_stops && blk_status() == 2);
	request(4, 0, 0);
	kick(0);
	CHECK(!fake_stops && blk_status() == 0);
	request(0, 0, 20);
	header(8, 0);
	kick(0);
	CHECK(!fake_stops && blk_status() == 0 && !strcmp(data, "disk"));
}

static void test_hold(void)
{
	uint64_t stats[3];

	set_up(8);
	disk_hold(disk_get(0), true);
	request(4, 0, 0);
	kick(0);
	kick(0);
	kick(0);
	CHECK(used()[1] == 0);
	disk_hold(disk_get(0), false);
	CHECK(used()[1] == 3 && !fake_stops);
	disk_stats(disk_get(0), stats);
	CHECK(stats[2] >= 3);
	/* Where its queue is */
	command(MAILBOX_DISK_QUEUE, &(uint64_t){ 0 }, 1);
	CHECK(!status() && word() == DESC && word() == 128 && word() == AVAIL &&
	      word() == 22 && word() == USED && word() == 70);
	/* A reset lets go */
	disk_hold(disk_get(0), true);
	set_up(8);
	request(4, 0, 0);
	kick(0);
	CHECK(used()[1] == 1);
}

/* One malformed ring a line: what makes it so, and that the device is broken */
#define MALFORMED(change) do {			\
	set_up(8);				\
	request(0, 0, 512);			\
	change;					\
	kick(0);				\
	CHECK(broken());			\
} while (0)

static void test_malformed(void)
{
	/* Loops */
	MALFORMED(desc(DESC, 1)->next = 1);
	MALFORMED(desc(DESC, 2)->flags |= 1);
	/* Out of the table */
	MALFORMED(desc(DESC, 0)->next = 8);
	MALFORMED(desc(DESC, 0)->next = 0xffff);
	/* Beyond memory, or round its end */
	MALFORMED(desc(DESC, 1)->addr = RAM_BASE + FAKE_MEMORY - 256);
	MALFORMED(desc(DESC, 1)->addr = UINT64_MAX - 100);
	MALFORMED(desc(DESC, 0)->addr = 0);
	/* Parts that the request needs */
	MALFORMED(desc(DESC, 0)->len = 15);
	MALFORMED(desc(DESC, 1)->flags = 0);
	/* 4 GB and more in all */
	MALFORMED(desc(DESC, 1)->len = UINT32_MAX; desc(DESC, 2)->len = UINT32_MAX);
	/* Indirect tables */
	MALFORMED((*desc(DESC, 0) = (struct desc){ INDIRECT, 0, 4, 0 }));
	MALFORMED((*desc(DESC, 0) = (struct desc){ INDIRECT, 17, 4, 0 }));
	MALFORMED((*desc(DESC, 0) = (struct desc){ INDIRECT, 16 * 129, 4, 0 }));
	MALFORMED((*desc(DESC, 0) = (struct desc){ INDIRECT, 16, 5, 1 }));
	MALFORMED((*desc(DESC, 0) = (struct desc){ INDIRECT, 16, 4, 0 },
		   *desc(INDIRECT, 0) = (struct desc){ INDIRECT, 16, 4, 0 }));
	MALFORMED((*desc(DESC, 0) = (struct desc){ INDIRECT, 32, 4, 0 },
		   *desc(INDIRECT, 0) = (struct desc){ HEADER, 16, 1, 2 }));
	MALFORMED((*desc(DESC, 0) = (struct desc){ UINT64_MAX - 15, 32, 4, 0 }));
	/* More offered than there is room for */
	MALFORMED(avail()[1] = 8);
	MALFORMED(avail()[1] = 0x7fff);
	/* A head out of the table */
	set_up(8);
	kick(8);
	CHECK(broken());
	/* A long indirect table behind other descriptors: too many parts */
	set_up(8);
	*desc(DESC, 0) = (struct desc){ HEADER, 16, 1, 1 };
	*desc(DESC, 1) = (struct desc){ INDIRECT, 16 * VIRTIO_QUEUE_MAX, 4, 0 };
	for (int i = 0; i < VIRTIO_QUEUE_MAX; i++)
		*desc(INDIRECT, i) = (struct desc){ DATA, 4, 3, i + 1 };
	desc(INDIRECT, VIRTIO_QUEUE_MAX - 1)->flags = 2;
	kick(0);
	CHECK(broken());
	/* A broken device stays so until it is reset */
	set_up(8);
	request(4, 0, 0);
	kick(8);
	kick(0);
	CHECK(used()[1] == 0);
	CHECK(broken());
}

static void test_disk_modes(void)
{
	static const struct {
		enum disk_mode mode;
		unsigned int moved, status, used;
	} rows[] = {
		{ DISK_GOOD, 1024, 0, 1025 },
		{ DISK_FAILS, 0, 1, 1 },
		{ DISK_SHORT, 512, 1, 513 },
		{ DISK_LIES, 0, 0, 1 },
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		set_up(8);
		disk_mode(disk_get(0), rows[i].mode);
		pattern_fill(disk_data(disk_get(0), 0, 2), 1024, 5);
		memset(fake_guest(DATA), 0, 1024);
		request(0, 0, 1024);
		kick(0);
		CHECK(pattern_check(fake_guest(DATA), 1024, 5) == rows[i].moved);
		CHECK(*(uint8_t *)fake_guest(STATUS) == rows[i].status);
		CHECK(used()[1] == 1);
		CHECK(!broken());
	}
	disk_mode(disk_get(0), DISK_GOOD);
}

static void test_private_pages(void)
{
	static const uint64_t pages[] = { DESC, AVAIL, USED, HEADER, DATA, STATUS };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(pages); i++) {
		set_up(8);
		request(0, 0, 512);
		avail()[2] = 0;
		avail()[1] = 1;
		fake_private(pages[i], 1, true);
		vwrite(0x50, 0);
		CHECK(broken());
		fake_private(pages[i], 1, false);
	}
	/* The same for a page that the guest has never touched */
	set_up(8);
	request(0, 0, 512);
	desc(DESC, 1)->addr = PRIVATE;
	kick(0);
	CHECK(broken());
}

int main(void)
{
	static const struct {
		const char *name;
		void (*run)(void);
	} tests[] = {
		{ "memory", test_memory },
		{ "audit", test_audit },
		{ "owners", test_owners },
		{ "uart", test_uart },
		{ "canary", test_canary },
		{ "mailbox", test_mailbox },
		{ "watch", test_watch },
		{ "virtio registers", test_registers },
		{ "virtio requests", test_requests },
		{ "virtio hold", test_hold },
		{ "virtio malformed rings", test_malformed },
		{ "disk that fails", test_disk_modes },
		{ "virtio private pages", test_private_pages },
	};
	size_t i;

	fake_init();
	for (i = 0; i < ARRAY_SIZE(tests); i++) {
		test_ok = true;
		tests[i].run();
		fprintf(stderr, "%s vmm %s\n", test_ok ? "ok    " : "not ok", tests[i].name);
		test_ok ? passed++ : failed++;
	}
	fprintf(stderr, "%u passed, %u failed\n", passed, failed);
	return !!failed;
}
