// SPDX-License-Identifier: GPL-2.0
/*
 * What an operation of the DMA API costs, counted.  Under QEMU's -icount the
 * guest's clock counts instructions, the hypervisor's among them; the driver
 * does the loops, so that no system call is in it.  Hypercalls are counted by
 * bench/hypercalls.py, from outside.
 *
 * testbed.bench=OPERATIONS,BATCHES on the kernel's command line says how many,
 * of the cheapest.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "../driver/testbed.h"
#include "box.h"
#include "tests.h"

#define KB	1024U
#define ATOMIC	TESTBED_ATOMIC
#define TO	TESTBED_TO_DEVICE
#define FROM	TESTBED_FROM_DEVICE

/*
 * @part: so many times fewer of them in a batch, which has to end before the
 * host's timer interrupts it
 */
static const struct row {
	const char *name;
	enum testbed_kind kind;
	unsigned int size, flags, part;
} rows[] = {
	{ "coherent 4 KiB", TESTBED_COHERENT, 4 * KB, 0, 1 },
	{ "coherent 64 KiB", TESTBED_COHERENT, 64 * KB, 0, 8 },
	{ "coherent 256 KiB", TESTBED_COHERENT, 256 * KB, 0, 32 },
	{ "coherent 1 MiB", TESTBED_COHERENT, 1024 * KB, 0, 64 },
	{ "coherent 4 KiB, GFP_ATOMIC", TESTBED_COHERENT, 4 * KB, ATOMIC, 1 },
	{ "coherent 64 KiB, GFP_ATOMIC", TESTBED_COHERENT, 64 * KB, ATOMIC, 8 },
	{ "map 64 B, to device", TESTBED_SINGLE, 64, TO, 1 },
	{ "map 4 KiB, to device", TESTBED_SINGLE, 4 * KB, TO, 1 },
	{ "map 64 KiB, to device", TESTBED_SINGLE, 64 * KB, TO, 4 },
	{ "map 32 pages, to device", TESTBED_SG, 128 * KB, TO, 16 },
	{ "map 64 B, from device", TESTBED_SINGLE, 64, FROM, 1 },
	{ "map 4 KiB, from device", TESTBED_SINGLE, 4 * KB, FROM, 1 },
	{ "map 64 KiB, from device", TESTBED_SINGLE, 64 * KB, FROM, 4 },
	{ "map 32 pages, from device", TESTBED_SG, 128 * KB, FROM, 16 },
};

static const char *const devices[] = { "pool-disks", "plain-64" };

#define ROWS		(sizeof(rows) / sizeof(rows[0]))
#define DEVICES		(sizeof(devices) / sizeof(devices[0]))

static unsigned int operations = 64, batches = 32;

static void read_options(void)
{
	char buf[4096], *p;

	if (read_file("/proc/cmdline", buf, sizeof(buf)) < 0)
		return;
	p = strstr(buf, "testbed.bench=");
	if (p)
		sscanf(p, "testbed.bench=%u,%u", &operations, &batches);
}

static int count_row(unsigned int device, unsigned int nr)
{
	const struct row *row = rows + nr;
	struct testbed_bench b = {
		.kind = row->kind, .flags = row->flags, .size = row->size,
		.count = operations / row->part ? operations / row->part : 1,
		.batches = batches, .row = device * ROWS + nr + 1,
	};
	int dev = device_open(devices[device]), err;

	err = dev < 0 ? dev : device_bench(dev, &b);
	/* A pool may be too small for it, and is so on every kernel alike */
	if (err == -ENOMEM)
		box_result(RESULT_SKIP, "count %s, %s: more than there may be at once",
			   devices[device], row->name);
	else if (err)
		box_result(RESULT_FAIL, "count %s, %s: %s", devices[device],
			   row->name, strerror(-err));
	else
		box_result(RESULT_OK, "count %s, %s: row %u, %u operations, %llu ns; %u in all",
			   devices[device], row->name, (unsigned int)b.row, b.count, b.ns,
			   b.count * b.batches);
	return err && err != -ENOMEM;
}

/* test_bench - count what each operation costs, on devices with a pool and without */
int test_bench(const char *group)
{
	int failed = 0, err = load_module("/testbed.ko");
	unsigned int device, row;
	char path[64];

	(void)group;
	if (err) {
		box_result(RESULT_FAIL, "bench: /testbed.ko: %s", strerror(-err));
		return 1;
	}
	read_options();
	for (device = 0; device < DEVICES; device++) {
		snprintf(path, sizeof(path), "/dev/testbed-%s", devices[device]);
		if (access(path, F_OK)) {
			box_result(RESULT_SKIP, "count %s: not in this device tree",
				   devices[device]);
			continue;
		}
		for (row = 0; row < ROWS; row++)
			failed += count_row(device, row);
	}
	return failed;
}
