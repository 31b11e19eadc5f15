// SPDX-License-Identifier: GPL-2.0
/* The mailbox: the host's end of mailbox.h */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mailbox.h"
#include "vmm.h"

/* What the device may move at a time; a limit on what the VMM has to allocate */
#define MAX_TRANSFER	(64UL << 20)

static uint64_t in[MAILBOX_WORDS + 1], out[MAILBOX_WORDS];
static size_t in_words, out_words, out_next;
static int64_t status;
static unsigned int results[3];
/* Kernels before this one, and whether there is one more to come */
static unsigned int kernels;
static enum mailbox_kernel kernel;

static struct device mailbox;

/* The text from word @first of the command on; in[] ends in a zero word */
static const char *text(size_t first)
{
	return (const char *)(in + (first < in_words ? first : in_words));
}

static void answer(uint64_t word)
{
	if (out_words < MAILBOX_WORDS)
		out[out_words++] = word;
}

static int do_result(void)
{
	static const char *const names[] = { "ok", "not ok", "skip" };

	if (in_words < 2 || in[0] > 2)
		return -EINVAL;
	results[in[0]]++;
	report("test: %s %s", names[in[0]], text(1));
	return 0;
}

static int do_audit(bool map)
{
	struct audit audit;
	size_t i;
	int err;

	if (in_words < 2)
		return -EINVAL;
	err = vm_pause();
	if (err)
		return err;
	err = audit_range(in[0], in[1], &audit);
	if (!err && audit.nr_ranges > MAILBOX_WORDS - 2)
		err = -E2BIG;
	/* An audit that the kernel's own account contradicts is no answer */
	if (!err && !in[0] && !in[1] && audit.owned != audit.locked) {
		report("audit: %" PRIu64 " pages are the guest's, by VmLck %" PRIu64,
		       audit.owned, audit.locked);
		err = -EBADMSG;
	}
	if (!err) {
		answer(audit.visible);
		answer(audit.owned);
		for (i = 0; i < audit.nr_ranges; i++)
			answer(MAILBOX_RANGE(audit.ranges[i].addr,
					     audit.ranges[i].pages));
		if (map)
			report_map(&audit, text(2));
	}
	audit_free(&audit);
	return err;
}

/* The answer's first word is how many pages there are; ranges follow */
static uint64_t found_addr, found_run;

static void found_page(uint64_t addr)
{
	out[0]++;
	if (found_run && addr == found_addr + found_run * PAGE_SIZE)
		out_words--;
	else
		found_addr = addr, found_run = 0;
	answer(MAILBOX_RANGE(found_addr, ++found_run));
}

static int do_search(void)
{
	int err;

	if (in_words < 3)
		return -EINVAL;
	err = vm_pause();
	if (err)
		return err;
	found_run = 0;
	answer(0);
	answer(0);
	return search_canary(in[0], in[1], in[2], found_page, out + 1);
}

static int do_watch(void)
{
	struct watch last;
	int err;

	if (in_words < 3)
		return -EINVAL;
	err = watch_canary(in[0], in[1], in[2], &last);
	if (err)
		return err;
	answer(last.looks);
	answer(last.visible);
	answer(last.found);
	answer(last.bytes);
	answer(last.last);
	return 0;
}

/* What one kernel has named stays named, as it may be found by the next one */
static int do_owner(void)
{
	char name[128];

	if (in_words < 2)
		return -EINVAL;
	snprintf(name, sizeof(name), "%s%.100s",
		 kernels && *text(2) ? "second kernel: " : "", text(2));
	return owner_add(name, in[0], in[1]) ? -ENOSPC : 0;
}

static int do_kernel(void)
{
	if (in_words < 1 || in[0] > KERNEL_COMES_BY_PANIC ||
	    (in[0] == KERNEL_IS_HERE) != mailbox_kernel_awaited())
		return -EINVAL;
	kernel = in[0];
	if (kernel == KERNEL_IS_HERE) {
		kernels++;
		uart_panic_due(false);
	} else {
		/* The next one writes its own log over this one's */
		guest_log();
		uart_panic_due(kernel == KERNEL_COMES_BY_PANIC);
	}
	return 0;
}

/* mailbox_kernel_awaited - has a kernel ended whose successor is not here yet? */
bool mailbox_kernel_awaited(void)
{
	return kernel != KERNEL_IS_HERE;
}

/* mailbox_kernel_crashed - has it ended by a panic that was announced? */
bool mailbox_kernel_crashed(void)
{
	return kernel == KERNEL_COMES_BY_PANIC;
}

static int do_transfer(bool fill)
{
	uint64_t bytes = in[1];
	void *buf;
	int err;

	if (in_words < 3 || bytes > MAX_TRANSFER)
		return -EINVAL;
	buf = malloc(bytes);
	if (!buf)
		return -ENOMEM;
	if (fill) {
		pattern_fill(buf, bytes, in[2]);
		err = guest_write(&mailbox, "a test's buffer", in[0], buf, bytes);
	} else {
		err = guest_read(&mailbox, "a test's buffer", in[0], buf, bytes);
		if (!err)
			answer(pattern_check(buf, bytes, in[2]));
	}
	free(buf);
	return err;
}

static int do_disk_transfer(bool fill)
{
	struct disk *disk = disk_get(in[0]);
	size_t bytes;
	void *data;

	if (in_words < 4)
		return -EINVAL;
	if (!disk)
		return -ENODEV;
	data = disk_data(disk, in[1], in[2]);
	if (!data)
		return -ERANGE;
	bytes = in[2] * 512;
	if (fill)
		pattern_fill(data, bytes, in[3]);
	else
		answer(pattern_check(data, bytes, in[3]));
	return 0;
}

static int do_disk_hold(void)
{
	struct disk *disk = disk_get(in[0]);

	if (in_words < 2)
		return -EINVAL;
	if (!disk)
		return -ENODEV;
	disk_hold(disk, in[1]);
	return 0;
}

static int do_disk_mode(void)
{
	struct disk *disk = disk_get(in[0]);

	if (in_words < 2 || in[1] > DISK_LIES)
		return -EINVAL;
	if (!disk)
		return -ENODEV;
	disk_mode(disk, in[1]);
	return 0;
}

static int do_disk_stats(void)
{
	struct disk *disk = disk_get(in[0]);
	uint64_t stats[3];
	size_t i;

	if (in_words < 1)
		return -EINVAL;
	if (!disk)
		return -ENODEV;
	disk_stats(disk, stats);
	for (i = 0; i < ARRAY_SIZE(stats); i++)
		answer(stats[i]);
	return 0;
}

static int do_disk_queue(void)
{
	struct disk *disk = disk_get(in[0]);
	uint64_t parts[6];
	size_t i;

	if (in_words < 1)
		return -EINVAL;
	if (!disk)
		return -ENODEV;
	if (disk_queue(disk, parts))
		for (i = 0; i < ARRAY_SIZE(parts); i++)
			answer(parts[i]);
	return 0;
}

static int do_command(uint64_t command)
{
	switch (command) {
	case MAILBOX_LOG:
		report_text("guest", text(0), strlen(text(0)));
		return 0;
	case MAILBOX_RESULT:
		return do_result();
	case MAILBOX_AUDIT:
		return do_audit(false);
	case MAILBOX_MAP:
		return do_audit(true);
	case MAILBOX_OWNER:
		return do_owner();
	case MAILBOX_CHECK:
		return do_transfer(false);
	case MAILBOX_FILL:
		return do_transfer(true);
	case MAILBOX_DISK_CHECK:
		return do_disk_transfer(false);
	case MAILBOX_DISK_FILL:
		return do_disk_transfer(true);
	case MAILBOX_DISK_HOLD:
		return do_disk_hold();
	case MAILBOX_DISK_STATS:
		return do_disk_stats();
	case MAILBOX_SEARCH:
		return do_search();
	case MAILBOX_DISK_QUEUE:
		return do_disk_queue();
	case MAILBOX_KERNEL:
		return do_kernel();
	case MAILBOX_WATCH:
		return do_watch();
	case MAILBOX_DISK_MODE:
		return do_disk_mode();
	}
	return -ENOSYS;
}

static uint64_t mailbox_read(struct device *dev, uint64_t offset,
			     unsigned int size)
{
	(void)dev;
	(void)size;
	switch (offset) {
	case MAILBOX_MAGIC:
		return MAILBOX_MAGIC_VALUE;
	case MAILBOX_STATUS:
		return status;
	case MAILBOX_COUNT:
		return out_words - out_next;
	case MAILBOX_DATA:
		return out_next < out_words ? out[out_next++] : 0;
	}
	return 0;
}

static void mailbox_write(struct device *dev, uint64_t offset, uint64_t val,
			  unsigned int size)
{
	(void)dev;
	(void)size;
	switch (offset) {
	case MAILBOX_DATA:
		/* One word too many makes the command fail, not the VMM */
		if (in_words <= MAILBOX_WORDS)
			in[in_words++] = val;
		break;
	case MAILBOX_COMMAND:
		out_words = 0;
		out_next = 0;
		if (in_words > MAILBOX_WORDS) {
			status = -E2BIG;
		} else {
			in[in_words] = 0;
			status = do_command(val);
		}
		in_words = 0;
		break;
	}
}

static const struct device_ops mailbox_ops = {
	.read = mailbox_read,
	.write = mailbox_write,
};

static struct device mailbox = {
	.name = "mailbox", .base = MAILBOX_BASE, .size = MAILBOX_SIZE,
	.ops = &mailbox_ops,
};

int mailbox_init(void)
{
	return device_add(&mailbox);
}

/* mailbox_totals - how many tests have reported which result */
void mailbox_totals(unsigned int *passed, unsigned int *failed,
		    unsigned int *skipped)
{
	*passed = results[0];
	*failed = results[1];
	*skipped = results[2];
}
