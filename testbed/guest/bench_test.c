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
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "../driver/testbed.h"
#include "box.h"
#include "tests.h"

#define KB	1024U
#define ATOMIC	TESTBED_ATOMIC
#define TO	TESTBED_TO_DEVICE
#define FROM	TESTBED_FROM_DEVICE

#define COHERENT	TESTBED_COHERENT
#define SINGLE		TESTBED_SINGLE
#define SG		TESTBED_SG

/*
 * @part: so many times fewer of them in a batch, which has to end before the
 * host's timer interrupts it
 */
static const struct row {
	const char *name;
	enum testbed_kind kind;
	unsigned int size, flags, part;
} rows[] = {
	{ "coherent 4 KiB", COHERENT, 4 * KB, 0, 1 },
	{ "coherent 64 KiB", COHERENT, 64 * KB, 0, 8 },
	{ "coherent 256 KiB", COHERENT, 256 * KB, 0, 32 },
	{ "coherent 1 MiB", COHERENT, 1024 * KB, 0, 64 },
	{ "coherent 4 KiB, GFP_ATOMIC", COHERENT, 4 * KB, ATOMIC, 1 },
	{ "coherent 64 KiB, GFP_ATOMIC", COHERENT, 64 * KB, ATOMIC, 8 },
	{ "map 64 B, to device", SINGLE, 64, TO, 1 },
	{ "map 4 KiB, to device", SINGLE, 4 * KB, TO, 1 },
	{ "map 64 KiB, to device", SINGLE, 64 * KB, TO, 4 },
	{ "map 32 pages, to device", SG, 128 * KB, TO, 16 },
	{ "map 64 B, from device", SINGLE, 64, FROM, 1 },
	{ "map 4 KiB, from device", SINGLE, 4 * KB, FROM, 1 },
	{ "map 64 KiB, from device", SINGLE, 64 * KB, FROM, 4 },
	{ "map 32 pages, from device", SG, 128 * KB, FROM, 16 },
};

static const char *const devices[] = { "pool-disks", "plain-64" };

#define LEN(array)	(sizeof(array) / sizeof((array)[0]))

/* What more of something costs: @from, then twice as much each time, up to @to */
static const struct growth {
	const char *device, *name, *of;
	enum { SIZE, HELD } what;
	enum testbed_kind kind;
	unsigned int flags, from, to;
} growths[] = {
	{ "pool-disks", "size", "coherent", SIZE, COHERENT, 0, 4 * KB, 256 * KB },
	{ "pool-disks", "size", "map, to device", SIZE, SINGLE, TO, 512, 256 * KB },
	{ "plain-64", "size", "coherent", SIZE, COHERENT, 0, 4 * KB, 4096 * KB },
	{ "plain-64", "size", "map, to device", SIZE, SINGLE, TO, 512, 256 * KB },
	{ "pool-disks", "held", "coherent 4 KiB", HELD, COHERENT, 0, 1, 512 },
	{ "plain-64", "held", "coherent 4 KiB", HELD, COHERENT, 0, 1, 2048 },
	{ "plain-64", "held", "coherent 4 KiB, GFP_ATOMIC", HELD, COHERENT, ATOMIC, 1, 16 },
	{ "pool-disks", "held", "map 4 KiB, to device", HELD, SINGLE, TO, 1, 512 },
};

/* Parts of a pool that are held, in percent of what was free */
static const unsigned int fills[] = { 0, 10, 25, 50, 75, 90, 95, 99 };
static const struct row filled[] = {
	{ "coherent 4 KiB", COHERENT, 4 * KB, 0, 1 },
	{ "map 4 KiB, to device", SINGLE, 4 * KB, TO, 1 },
};

static unsigned int operations = 64, batches = 32, last_row;
static struct timespec booted;

static void read_options(void)
{
	char buf[4096], *p;

	if (read_file("/proc/cmdline", buf, sizeof(buf)) < 0)
		return;
	p = strstr(buf, "testbed.bench=");
	if (p)
		sscanf(p, "testbed.bench=%u,%u", &operations, &batches);
}

static uint64_t nanoseconds(const struct timespec *t)
{
	return t->tv_sec * 1000000000ULL + t->tv_nsec;
}

/* bench_booted - the guest's programs begin */
void bench_booted(void)
{
	clock_gettime(CLOCK_MONOTONIC, &booted);
}

static void report(const char *where, const char *what, unsigned int row,
		   unsigned int count, uint64_t ns, unsigned int all)
{
	box_result(RESULT_OK, "count %s, %s: row %u, %u operations, %" PRIu64 " ns; %u in all",
		   where, what, row, count, ns, all);
}

static int count_row(const char *device, const char *name, const struct row *row,
		     unsigned int held, unsigned int percent)
{
	struct testbed_bench b = {
		.kind = row->kind, .flags = row->flags, .size = row->size,
		.count = operations / row->part ? operations / row->part : 1,
		.batches = batches, .row = ++last_row,
		.held = held, .held_size = row->size, .percent = percent,
	};
	int dev = device_open(device), err;

	err = dev < 0 ? dev : device_bench(dev, &b);
	/* A pool may be too small for it, and is so on every kernel alike */
	if (err == -ENOMEM || (err == -EIO && percent))
		box_result(RESULT_SKIP, "count %s, %s: more than there may be at once",
			   device, name);
	else if (err)
		box_result(RESULT_FAIL, "count %s, %s: %s", device, name,
			   strerror(-err));
	else if (percent && held != TESTBED_HELD_MAX && b.held != held)
		box_result(RESULT_SKIP, "count %s, %s: there are not so many", device, name);
	else
		report(device, name, b.row, b.count, b.ns, b.count * b.batches);
	return err && err != -ENOMEM && !(err == -EIO && percent);
}

static bool is_there(const char *device)
{
	char path[64];

	snprintf(path, sizeof(path), "/dev/testbed-%s", device);
	if (!access(path, F_OK))
		return true;
	box_result(RESULT_SKIP, "count %s: not in this device tree", device);
	return false;
}

static int count_growth(const struct growth *g)
{
	unsigned int n, held, failed = 0;
	char name[80];

	for (n = g->from; n <= g->to; n *= 2) {
		struct row row = { NULL, g->kind, 4 * KB, g->flags, 1 };

		held = g->what == HELD ? n : 0;
		if (g->what == SIZE)
			row.size = n;
		row.part = 1 + row.size / (8 * KB);
		snprintf(name, sizeof(name), "%s %u, %s", g->name, n, g->of);
		failed += count_row(g->device, name, &row, held, 100);
	}
	return failed;
}

/* @some: none of it, and nine tenths */
static int count_fills(const char *device, bool some)
{
	unsigned int i, j, failed = 0;
	char name[80];

	for (j = 0; j < LEN(filled); j++)
		for (i = 0; i < LEN(fills); i++) {
			/* Memory that is allocated without a pool has no end */
			if (filled[j].kind == COHERENT && strncmp(device, "pool", 4))
				continue;
			if (some && fills[i] && fills[i] != 90)
				continue;
			snprintf(name, sizeof(name), "fill %u, %s", fills[i],
				 filled[j].name);
			failed += count_row(device, name, filled + j,
					    TESTBED_HELD_MAX, fills[i]);
		}
	return failed;
}

/* A whole read, and a first one that is not counted */
static int count_read(void)
{
	const size_t total = 16UL << 20, chunk = 1UL << 20;
	struct timespec start, end;
	char path[32];
	size_t done;
	uint64_t row = ++last_row;
	int fd, dev, i;
	void *buf;

	dev = open("/dev/testbed-plain-64", O_RDWR | O_CLOEXEC);
	buf = aligned_alloc(4096, chunk);
	if (find_disk("data", path, sizeof(path)) < 0 || dev < 0 || !buf ||
	    (fd = open(path, O_RDONLY | O_DIRECT | O_CLOEXEC)) < 0) {
		box_result(RESULT_FAIL, "count disk: cannot begin");
		return 1;
	}
	memset(buf, 0, chunk);
	for (i = 0; i < 2; i++) {
		if (i)
			ioctl(dev, TESTBED_IOC_ROW, &row);
		clock_gettime(CLOCK_MONOTONIC, &start);
		for (done = 0; done < total; done += chunk)
			if (pread(fd, buf, chunk, done) != (ssize_t)chunk) {
				box_result(RESULT_FAIL, "count disk: read at %zu: %s",
					   done, strerror(errno));
				return 1;
			}
		clock_gettime(CLOCK_MONOTONIC, &end);
	}
	row += TESTBED_ROW_ENDS;
	ioctl(dev, TESTBED_IOC_ROW, &row);
	report("disk", "read 16 MiB, O_DIRECT", last_row, 1,
	       nanoseconds(&end) - nanoseconds(&start), 1);
	free(buf);
	close(fd);
	close(dev);
	return 0;
}

/*
 * test_bench - count what each operation costs, on devices with a pool and without
 *
 * bench-boot: only what a boot costs; bench-growth: what more of it costs; bench-few: what
 * is worth to be counted on many machines.
 */
int test_bench(const char *group)
{
	bool growth = !strcmp(group, "bench-growth"), few = !strcmp(group, "bench-few");
	unsigned int device, i;
	int failed = 0, err;

	report("boot", "to init", 0, 1, nanoseconds(&booted), 1);
	if (!strcmp(group, "bench-boot"))
		return 0;
	err = load_module("/testbed.ko");
	if (err) {
		box_result(RESULT_FAIL, "bench: /testbed.ko: %s", strerror(-err));
		return 1;
	}
	read_options();
	for (i = 0; growth && i < LEN(growths); i++)
		if (is_there(growths[i].device))
			failed += count_growth(growths + i);
	for (device = 0; device < LEN(devices); device++) {
		if (!is_there(devices[device]))
			continue;
		for (i = 0; !growth && !few && i < LEN(rows); i++)
			failed += count_row(devices[device], rows[i].name, rows + i, 0, 0);
		if (growth || few)
			failed += count_fills(devices[device], few);
	}
	if (!growth && !few)
		failed += count_read();
	return failed;
}
