// SPDX-License-Identifier: GPL-2.0
/*
 * Real I/O: virtio-blk through its restricted pool.  The VMM fills the disk
 * and checks it on its side, so an error on the way there cannot be undone by
 * the same error on the way back.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../driver/testbed.h"
#include "model.h"
#include "secrets.h"
#include "tests.h"

#define SECTOR		512U
#define KB		1024U
#define MAX_REQUESTS	128
#define REQUEST		(64 * KB)
#define READ_SEED	0x6b1d
/* Those of the disks' pool, which the numbers of requests are made for */
#define SLOTS		2048
#define SLOT		2048U

static int disk, slot;
/* The pool that the disk's DMA goes through; "": the default one */
static const char *pool;

/* The pattern of one request, told apart from all others by where it is */
static uint64_t seed_at(uint64_t sector, bool write)
{
	return sector << 1 | write;
}

static int host_disk(int command, uint64_t sector, size_t bytes, uint64_t seed)
{
	uint64_t args[4] = { slot, sector, bytes / SECTOR, seed }, good = bytes;
	int n = box_command(command, args, 4, NULL, &good,
			    command == MAILBOX_DISK_CHECK);

	if (n < 0)
		return n;
	return good == bytes ? 0 : -EILSEQ;
}

static void host_hold(bool yes)
{
	uint64_t args[2] = { slot, yes };

	box_command(MAILBOX_DISK_HOLD, args, 2, NULL, NULL, 0);
}

/* One request of @bytes there or back, on both sides.  Return: 0 or -errno. */
static int transfer(uint64_t sector, void *buf, size_t bytes, bool write)
{
	uint64_t seed = seed_at(sector, write);
	ssize_t n;
	int err;

	if (write) {
		pattern_fill(buf, bytes, seed);
		n = pwrite(disk, buf, bytes, sector * SECTOR);
		if (n != (ssize_t)bytes)
			return n < 0 ? -errno : -EIO;
		return host_disk(MAILBOX_DISK_CHECK, sector, bytes, seed);
	}
	err = host_disk(MAILBOX_DISK_FILL, sector, bytes, seed);
	if (err)
		return err;
	memset(buf, 0x55, bytes);
	n = pread(disk, buf, bytes, sector * SECTOR);
	if (n != (ssize_t)bytes)
		return n < 0 ? -errno : -EIO;
	return pattern_check(buf, bytes, seed) == bytes ? 0 : -EILSEQ;
}

/* Waits until the pool has as many slots in use as before */
static int wait_for_pool(long before, const char *what)
{
	struct timespec ms = { 0, 1000000 };
	long used = 0;
	int i;

	for (i = 0; i < 1000; i++) {
		used = pool_used(pool);
		if (used == before && used >= 0)
			return 0;
		nanosleep(&ms, NULL);
	}
	box_log("%s: %ld slots in use before, %ld after", what, before, used);
	return 1;
}

static int test_sizes(uint8_t *buf)
{
	static const unsigned int sizes[] = {
		512, 1024, 1536, 4 * KB, 4 * KB + 512, 12 * KB, 64 * KB,
		128 * KB, 256 * KB, 512 * KB, 1024 * KB, 2048 * KB, 4096 * KB,
	};
	long before = pool_used(pool);
	unsigned int i, write, bad = 0;
	uint64_t sector = 8;
	int err;

	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		for (write = 0; write < 2; write++) {
			/* A buffer that does not start with a page, too */
			err = transfer(sector, buf + (i % 2) * SECTOR, sizes[i], write);
			if (err) {
				box_log("%s of %u bytes at sector %" PRIu64 ": %s",
					write ? "write" : "read", sizes[i],
					sector, strerror(-err));
				bad++;
			}
			sector += sizes[i] / SECTOR + 1;
		}
	bad += wait_for_pool(before, "sizes");
	bad += !!model_compare("after the block I/O of all sizes");
	if (bad)
		box_result(RESULT_FAIL, "blk sizes: %u wrong", bad);
	else
		box_result(RESULT_OK, "blk sizes: 512 bytes to 4 MB, both ways, compared by the host");
	return bad;
}

/*
 * Through the page cache, where readahead makes requests as large as the
 * driver allows, however small the pool is.
 */
static int test_buffered(uint8_t *buf)
{
	const size_t total = 8UL << 20, chunk = 64 * KB;
	unsigned int wrong = 0, lost;
	long before = pool_used(pool);
	char path[32];
	size_t done;
	int fd, err;

	err = host_disk(MAILBOX_DISK_FILL, 0, total, 0xb0ff);
	if (err < 0 || find_disk("data", path, sizeof(path)) < 0 ||
	    (fd = open(path, O_RDONLY | O_CLOEXEC)) < 0) {
		box_result(RESULT_FAIL, "blk buffered: cannot begin");
		return 1;
	}
	for (done = 0; done < total; done += chunk) {
		size_t i;

		if (read(fd, buf, chunk) != (ssize_t)chunk) {
			wrong += chunk / 8;
			break;
		}
		for (i = 0; i < chunk / 8; i++)
			wrong += ((uint64_t *)buf)[i] !=
				 pattern_word(0xb0ff, done / 8 + i);
	}
	close(fd);
	/* What was read ahead may still be under way */
	lost = wait_for_pool(before, "buffered");
	if (wrong || lost)
		box_result(RESULT_FAIL, "blk buffered: %u of %zu words are wrong%s",
			   wrong, total / 8, lost ? ", slots are lost" : "");
	else
		box_result(RESULT_OK, "blk buffered: 8 MB read in sequence through the page cache");
	return wrong || lost;
}

struct request {
	pthread_t thread;
	uint64_t sector;
	size_t bytes;
	bool write;
	void *buf;
	int fd;		/* 0: the disk, without the page cache */
	int err;
};

static void *request_main(void *arg)
{
	struct request *r = arg;
	int fd = r->fd ? r->fd : disk;
	ssize_t n;

	if (r->write)
		n = pwrite(fd, r->buf, r->bytes, r->sector * SECTOR);
	else
		n = pread(fd, r->buf, r->bytes, r->sector * SECTOR);
	r->err = n < 0 ? -errno : n == (ssize_t)r->bytes ? 0 : -EIO;
	return NULL;
}

/* Waits until the number of slots in use stands still, for 200 ms */
static long wait_for_still(void)
{
	struct timespec ms = { 0, 10000000 };
	long used = -1, last = -2;
	int i, still = 0;

	for (i = 0; i < 1000 && still < 20; i++) {
		nanosleep(&ms, NULL);
		last = used;
		used = pool_used(pool);
		still = used == last ? still + 1 : 0;
	}
	return used;
}

/* The same, until there are so many; the pool may stand still as the machine does */
static long wait_for_slots(long least)
{
	long used = -1;
	int i;

	for (i = 0; i < 20 && used < least; i++)
		used = wait_for_still();
	return used;
}

/*
 * @big requests of 64 kB, @middle ones of 4 kB and @small ones of a sector are
 * under way while the host holds them.  They take 35, 5 and 4 of the pool's
 * slots: for data, header, status and descriptors.  More may not fit, and what
 * comes behind one that does not has to wait.
 */
static int test_flight(const char *name, unsigned int big, unsigned int middle,
		       unsigned int small, uint8_t *buf, long min_free,
		       long max_free)
{
	static struct request requests[MAX_REQUESTS];
	long before = pool_used(pool), full = before;
	unsigned int i, started = 0, bad = 0;
	unsigned int count = big + middle + small;
	long slots = pool_slots(pool);
	pthread_attr_t attr;

	if (slots != SLOTS) {
		box_result(RESULT_SKIP, "blk %s: for a pool of %d slots, this one has %ld",
			   name, SLOTS, slots);
		return 0;
	}
	/* blk_mq_alloc_tag_set() has no more for it */
	if (count > 64 && !access("/proc/vmcore", F_OK)) {
		box_result(RESULT_SKIP, "blk %s: %u requests, and a crash kernel has 64", name, count);
		return 0;
	}
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 64 * KB);
	for (i = 0; i < count; i++) {
		struct request *r = requests + i;

		*r = (struct request){ .sector = i * REQUEST / SECTOR,
				       .bytes = i < big ? REQUEST :
						i < big + middle ? 4 * KB : SECTOR,
				       .write = i & 1, .buf = buf + i * REQUEST };
		if (r->write) {
			pattern_fill(r->buf, r->bytes, seed_at(r->sector, true));
		} else {
			memset(r->buf, 0x55, r->bytes);
			bad += !!host_disk(MAILBOX_DISK_FILL, r->sector, r->bytes,
					   seed_at(r->sector, false));
		}
	}
	host_hold(true);
	for (i = 0; i < count; i++) {
		/* The smaller ones fit wherever the larger ones do not */
		if (i == big || i == big + middle)
			wait_for_slots(full);
		full += i < big ? 35 : i < big + middle ? 5 : 4;
		if (pthread_create(&requests[i].thread, &attr, request_main,
				   requests + i))
			break;
		started++;
	}
	full = wait_for_slots(slots - max_free);
	/* An instant that is worth an audit: the pool is in use as never else */
	bad += !!model_compare(name);
	host_hold(false);
	for (i = 0; i < started; i++) {
		struct request *r = requests + i;

		pthread_join(r->thread, NULL);
		if (!r->err && r->write)
			r->err = host_disk(MAILBOX_DISK_CHECK, r->sector, r->bytes,
					   seed_at(r->sector, true));
		else if (!r->err &&
			 pattern_check(r->buf, r->bytes,
				       seed_at(r->sector, false)) != r->bytes)
			r->err = -EILSEQ;
		if (r->err) {
			box_log("%s: %s %u: %s", name, r->write ? "write" : "read",
				i, strerror(-r->err));
			bad++;
		}
	}
	pthread_attr_destroy(&attr);
	if (started != count) {
		box_log("%s: only %u of %u threads", name, started, count);
		bad++;
	}
	if (slots - full < min_free || slots - full > max_free) {
		box_log("%s: %ld of %ld slots in use", name, full, slots);
		bad++;
	}
	bad += wait_for_pool(before, name);
	bad += !!model_compare(name);
	if (bad)
		box_result(RESULT_FAIL, "blk %s: %u wrong", name, bad);
	else
		box_result(RESULT_OK, "blk %s: %u requests at once, %ld of %ld slots in use, %ld afterwards",
			   name, count, full, slots, pool_used(pool));
	return bad;
}

/*
 * Many large reads at once, over a pool that a single one does not fit into.
 * They read the same, so their data needs no more memory than one.
 */
static int test_many(uint8_t *buf)
{
	static const unsigned int sizes[] = { 4 * KB, 64 * KB, 4096 * KB };
	static struct request requests[64];
	const unsigned int count = sizeof(requests) / sizeof(requests[0]);
	long before = pool_used(pool);
	unsigned int i, n, started, bad = 0;
	pthread_attr_t attr;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 64 * KB);
	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		bad += !!host_disk(MAILBOX_DISK_FILL, 16, sizes[i], i);
		memset(buf, 0x55, sizes[i]);
		for (started = 0; started < count; started++) {
			requests[started] = (struct request){
				.sector = 16, .bytes = sizes[i], .buf = buf };
			if (pthread_create(&requests[started].thread, &attr,
					   request_main, requests + started))
				break;
		}
		for (n = 0; n < started; n++) {
			pthread_join(requests[n].thread, NULL);
			bad += !!requests[n].err;
		}
		bad += started != count;
		bad += pattern_check(buf, sizes[i], i) != sizes[i];
		if (bad)
			box_log("many: %u of %u threads, reads of %u bytes: %u wrong so far",
				started, count, sizes[i], bad);
	}
	pthread_attr_destroy(&attr);
	bad += wait_for_pool(before, "many");
	if (bad)
		box_result(RESULT_FAIL, "blk many: %u wrong", bad);
	else
		box_result(RESULT_OK, "blk many: %u reads at once of 4 kB, 64 kB and 4 MB each, over %ld slots",
			   count, pool_slots(pool));
	return bad;
}

/* Takes all of a pool by a device of its own.  Return: the device, or -errno. */
static int starve(unsigned int *held)
{
	struct testbed_op op = { .kind = TESTBED_COHERENT, .size = 256 * KB };
	int err = load_module("/testbed.ko"), fd;

	if (err)
		return err;
	fd = open("/dev/testbed-pool-disks", O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	while (op.slot < TESTBED_SLOTS && op.size >= 4 * KB)
		if (ioctl(fd, TESTBED_IOC_GET, &op))
			op.size /= 2;
		else
			op.slot++;
	*held = op.slot;
	return fd;
}

static void feed(int fd, unsigned int held)
{
	struct testbed_op op = { 0 };

	for (op.slot = 0; op.slot < held; op.slot++)
		ioctl(fd, TESTBED_IOC_PUT, &op);
	close(fd);
}

/*
 * Has a disk tell its serial number, by the name of that file of sysfs: a
 * request of which nobody notes when it was made.
 */
static void *serial_main(void *arg)
{
	struct request *r = arg;
	FILE *f = fopen(r->buf, "re");
	char serial[32] = "";

	/* What fails has no number */
	if (!f || fscanf(f, "%31s", serial) != 1)
		r->err = -ENOMSG;
	else if (strcmp(serial, "data"))
		r->err = -EILSEQ;
	if (f)
		fclose(f);
	return NULL;
}

/* Waits until a read has failed, as one is to that waits for bounce buffers.  Return: 0 or an errno. */
static int wait_for_failure(struct request *r)
{
	struct timespec limit;
	int err;

	clock_gettime(CLOCK_REALTIME, &limit);
	limit.tv_sec += 90;
	err = pthread_timedjoin_np(r->thread, NULL, &limit);
	if (err || r->err == -EIO)
		return err;
	return r->err ? -r->err : ENODATA;
}

/*
 * Another device holds the whole pool and does not give it back: requests fail
 * after the 30 s that a request is given, and are not tried for ever, nor one
 * after the other, 30 s each.  What comes later is given as much.  So is what
 * comes when the disk has been idle, though nobody knows since when it waits.
 */
static int test_starved(uint8_t *buf)
{
	static struct request requests[8], late, serial;
	const unsigned int count = sizeof(requests) / sizeof(requests[0]);
	unsigned int held = 0, started, failed = 0;
	long before = pool_used(pool);
	bool late_runs = false;
	char path[32], file[64];
	int hog, err = 0;

	/* This asks for serial numbers as well */
	if (find_disk("data", path, sizeof(path)) < 0) {
		box_result(RESULT_FAIL, "blk starved: there is no disk 'data'");
		return 1;
	}
	snprintf(file, sizeof(file), "/sys/block/%s/serial", strrchr(path, '/') + 1);
	hog = starve(&held);
	if (hog < 0) {
		box_result(RESULT_FAIL, "blk starved: no device to hold the pool: %s",
			   strerror(-hog));
		return 1;
	}
	for (started = 0; started < count && !err; started += !err) {
		requests[started] = (struct request){ .sector = 8, .bytes = REQUEST, .buf = buf };
		err = pthread_create(&requests[started].thread, NULL, request_main,
				     requests + started);
	}
	for (; failed < started && !err; failed += err != ETIMEDOUT)
		err = wait_for_failure(requests + failed);

	late = (struct request){ .sector = 8, .bytes = REQUEST, .buf = buf };
	if (!err)
		err = pthread_create(&late.thread, NULL, request_main, &late);
	if (!err) {
		sleep(1);
		err = pthread_tryjoin_np(late.thread, NULL);
		if (err == EBUSY) {
			err = wait_for_failure(&late);
			late_runs = err == ETIMEDOUT;
		} else {
			box_log("a read that has waited for a second is done: %s", strerror(-late.err));
			err = ETIME;
		}
	}

	serial = (struct request){ .buf = file };
	if (!err) {
		sleep(8);
		err = pthread_create(&serial.thread, NULL, serial_main, &serial);
	}
	if (!err)
		sleep(1);
	feed(hog, held);
	if (!err) {
		pthread_join(serial.thread, NULL);
		err = -serial.err;
	}
	for (; failed < started; failed++)
		pthread_join(requests[failed].thread, NULL);
	if (late_runs)
		pthread_join(late.thread, NULL);
	if (!err && transfer(8, buf, REQUEST, false))
		err = EBADE;
	if (!err && wait_for_pool(before, "starved"))
		err = EBUSY;
	if (err)
		box_result(RESULT_FAIL, "blk starved: %s", strerror(err));
	else
		box_result(RESULT_OK, "blk starved: %u reads fail while another device holds the pool, one that comes later waits as long, and what comes after that passes in time",
			   count);
	return !!err;
}

/* What a thread says to a driver of the virtio bus: a device's name */
struct order {
	pthread_t thread;
	const char *file;
	char device[32];
	int err;
};

static void *order_main(void *arg)
{
	struct order *o = arg;
	int fd = open(o->file, O_WRONLY | O_CLOEXEC);

	o->err = fd < 0 || write(fd, o->device, strlen(o->device)) < 0 ? -errno : 0;
	if (fd >= 0)
		close(fd);
	return NULL;
}

/*
 * A disk that is probed while another device holds the whole pool: its queue is
 * where it was before, its first request finds nothing.  With slub_debug=P what
 * the driver has not initialised is no zero.  Each table of partitions that is
 * looked for is a read of its own, of 30 s.
 */
static int test_starved_probe(void)
{
	static struct order o = { .file = "/sys/bus/virtio/drivers/virtio_blk/unbind" };
	char path[32], file[64], link[256], *name;
	struct timespec limit;
	unsigned int held = 0;
	int hog, err = 0;
	ssize_t n;

	if (find_disk("log", path, sizeof(path)) < 0)
		err = ENODEV;
	snprintf(file, sizeof(file), "/sys/block/%s", path + strlen("/dev/"));
	n = err ? 0 : readlink(file, link, sizeof(link) - 1);
	link[n < 0 ? 0 : n] = 0;
	/* ../devices/platform/a001000.virtio/virtio1/block/vdb */
	name = strstr(link, "/virtio");
	if (err || !name || sscanf(name + 1, "%31[^/]", o.device) != 1) {
		box_result(RESULT_FAIL, "blk starved probe: there is no disk for the log");
		return 1;
	}
	hog = starve(&held);
	if (hog < 0) {
		box_result(RESULT_FAIL, "blk starved probe: no device to hold the pool: %s",
			   strerror(-hog));
		return 1;
	}
	order_main(&o);
	o.file = "/sys/bus/virtio/drivers/virtio_blk/bind";
	err = -o.err ?: pthread_create(&o.thread, NULL, order_main, &o);
	if (!err) {
		clock_gettime(CLOCK_REALTIME, &limit);
		limit.tv_sec += 300;
		err = pthread_timedjoin_np(o.thread, NULL, &limit);
		feed(hog, held);
		if (err)
			pthread_join(o.thread, NULL);
		err = err ?: -o.err;
	} else {
		feed(hog, held);
	}
	if (!err && find_disk("log", path, sizeof(path)) < 0)
		err = ENODEV;
	if (err)
		box_result(RESULT_FAIL, "blk starved probe: %s", strerror(err));
	else
		box_result(RESULT_OK, "blk starved probe: a disk is there though its first requests fail");
	return !!err;
}

/*
 * Another device holds every second page of the pool: what is left would do, but
 * not in a row.  The buffer is in a row, which tempts to map it so.
 */
static int test_fragmented(void)
{
	uint8_t *buf = mmap(NULL, 2048 * KB, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
	struct testbed_op op = { .kind = TESTBED_COHERENT, .size = 4 * KB };
	long before = pool_used(pool);
	int err = load_module("/testbed.ko");
	unsigned int held;
	int hog = err ? -1 : open("/dev/testbed-pool-disks", O_RDWR | O_CLOEXEC);

	if (hog < 0 || buf == MAP_FAILED) {
		box_result(RESULT_FAIL, "blk fragmented: no %s",
			   hog < 0 ? "device to hold the pool" : "huge page (hugepages=1)");
		return 1;
	}
	while (op.slot < TESTBED_SLOTS && !ioctl(hog, TESTBED_IOC_GET, &op))
		op.slot++;
	held = op.slot;
	for (op.slot = 0; op.slot < held; op.slot += 2)
		ioctl(hog, TESTBED_IOC_PUT, &op);
	err = transfer(8, buf, 1024 * KB, false);
	for (op.slot = 1; op.slot < held; op.slot += 2)
		ioctl(hog, TESTBED_IOC_PUT, &op);
	close(hog);
	munmap(buf, 2048 * KB);
	if (!err && held < 32)
		err = -ENOSPC;
	if (!err && wait_for_pool(before, "fragmented"))
		err = -EBUSY;
	if (err)
		box_result(RESULT_FAIL, "blk fragmented: %s", strerror(-err));
	else
		box_result(RESULT_OK, "blk fragmented: reads pass while another device has %u pages here and there",
			   held / 2);
	return !!err;
}

/* Opens the disk 'data'.  Return: 0, or 1 with a result reported. */
static int open_disk(void)
{
	char path[32];

	pool = model_disks_pool();
	slot = find_disk("data", path, sizeof(path));
	if (slot < 0) {
		box_result(RESULT_FAIL, "blk: there is no disk 'data'");
		return 1;
	}
	disk = open(path, O_RDWR | O_DIRECT | O_CLOEXEC);
	if (disk < 0) {
		box_result(RESULT_FAIL, "blk: %s: %s", path, strerror(errno));
		return 1;
	}
	return 0;
}

/* What there was in a pool before is another's */
static int soil_pool(uint8_t *buf)
{
	unsigned int i;
	int err = 0;

	for (i = 0; i < 4 && !err; i++)
		err = transfer(8192 + i * 2048, buf, 1024 * KB, true);
	return err;
}

static const struct {
	const char *name;
	enum { DIRECT, FREE_MEMORY, EXITED, WRITE } what;
	int mode;	/* of MAILBOX_DISK_MODE */
	int err;
} secret_rows[] = {
	{ "blk read, O_DIRECT", DIRECT, 0, 0 },
	{ "blk read, O_DIRECT, the host fails", DIRECT, 1, -EIO },
	{ "blk read, O_DIRECT, the host fails halfway", DIRECT, 2, -EIO },
	{ "blk read, O_DIRECT, the host does nothing", DIRECT, 3, 0 },
	{ "blk read, buffered", FREE_MEMORY, 0, 0 },
	{ "blk read, buffered, the host fails", FREE_MEMORY, 1, -EIO },
	{ "blk read, buffered, the host does nothing", FREE_MEMORY, 3, 0 },
	{ "blk read, buffered, into memory of a process that has exited", EXITED, 0, 0 },
	{ "blk write of a sector", WRITE, 0, 0 },
};

static void host_mode(int mode)
{
	uint64_t args[2] = { slot, mode };

	box_command(MAILBOX_DISK_MODE, args, 2, NULL, NULL, 0);
}

static void fill_canary(void *buf, size_t bytes, uint64_t canary)
{
	size_t i;

	for (i = 0; i < bytes / sizeof(canary); i++)
		((uint64_t *)buf)[i] = canary;
}

/* Memory that a process has had.  Return: 0 or -errno. */
static int let_exit(uint64_t canary)
{
	const size_t bytes = 12UL << 20;
	pid_t pid = fork();
	int status;

	if (!pid) {
		void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		if (p == MAP_FAILED)
			_exit(1);
		fill_canary(p, bytes, canary);
		_exit(0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return -errno;
	return status ? -ENOMEM : 0;
}

/*
 * What the reader has in his hands.  @room has @around bytes on either side of
 * the buffer; what the host has not written must be as it was, or zero.
 */
static void check_read(struct secrets *s, const uint8_t *room, size_t around,
		       size_t bytes, int mode, bool own)
{
	size_t i;

	for (i = 0; i < bytes + 2 * around; i++) {
		uint8_t old = canary_byte(s->canary, i);
		uint8_t data = pattern_word(READ_SEED, (i - around) / 8) >> 8 * (i % 8);

		if (i < around || i >= around + bytes)
			s->around += room[i] != old;
		else if (!mode)
			s->wrong += room[i] != data;
		else if (room[i] && !(own && room[i] == old))
			s->foreign += mode != 2 || room[i] != data;
	}
	s->buffers++;
}

static int test_secret_io(unsigned int row, uint8_t *room)
{
	const size_t around = 4 * KB;
	int what = secret_rows[row].what, mode = secret_rows[row].mode, err = 0, fd = disk;
	bool direct = what == DIRECT || what == WRITE;
	uint64_t addr = 0, bytes = 0;
	struct request r = { .sector = 64, .write = what == WRITE,
			     .bytes = what == WRITE ? SECTOR : REQUEST };
	struct secrets s;
	char path[32];
	long filled = 1;

	secrets_begin(&s, secret_rows[row].name);
	if (model_find("disks", &addr, &bytes))
		model_bounce(&addr, &bytes);
	r.buf = room + around;
	if (what == WRITE)
		r.buf = room + around + SECTOR;
	if (!direct) {
		find_disk("data", path, sizeof(path));
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd >= 0)
			ioctl(fd, BLKFLSBUF, 0);
		r.bytes = 512 * KB;
	}
	if (fd < 0 || soil_pool(room) ||
	    host_disk(MAILBOX_DISK_FILL, r.sector, r.bytes, READ_SEED)) {
		box_result(RESULT_FAIL, "secrets %s: cannot begin", s.name);
		return 1;
	}
	memset(room, 0, r.bytes + 2 * around);
	if (what == FREE_MEMORY)
		filled = secrets_fill(s.canary);
	else if (what == EXITED)
		filled = let_exit(s.canary);
	else
		fill_canary(room, r.bytes + 2 * around, s.canary);
	if (what == WRITE)
		pattern_fill(r.buf, r.bytes, READ_SEED);
	if (filled < 0)
		s.bad++;

	r.fd = fd;
	secrets_watch(&s, addr, bytes);
	host_mode(mode);
	host_hold(true);
	if (pthread_create(&r.thread, NULL, request_main, &r)) {
		s.bad++;
		host_hold(false);
	} else {
		wait_for_still();
		secrets_search(&s, "held", 0, 0);
		host_hold(false);
		pthread_join(r.thread, NULL);
		err = r.err;
	}
	host_mode(0);
	secrets_search(&s, "afterwards", 0, 0);
	secrets_watched(&s);
	if (err != secret_rows[row].err) {
		box_log("%s: %s", s.name, strerror(-err));
		s.bad++;
	} else if (direct && what != WRITE) {
		check_read(&s, room, around, r.bytes, mode, true);
	} else if (!direct && !err) {
		check_read(&s, r.buf, 0, r.bytes, mode, false);
	}
	if (!direct)
		close(fd);
	return secrets_end(&s);
}

/* test_blk_secrets - what was in memory before it is read into, on all ways to read */
int test_blk_secrets(const char *group)
{
	int failed = 0, err = load_module("/testbed.ko");
	unsigned int i;
	uint8_t *room;

	(void)group;
	if (open_disk())
		return 1;
	room = aligned_alloc(4096, 1024 * KB);
	if (err || !room) {
		box_result(RESULT_FAIL, "blk secrets: cannot begin");
		return 1;
	}
	for (i = 0; i < sizeof(secret_rows) / sizeof(secret_rows[0]); i++)
		failed += test_secret_io(i, room);
	free(room);
	close(disk);
	return failed;
}

/* What the block layer says of a disk's queue, or -1 */
static long limit_of(const char *path, const char *what)
{
	char file[96];
	long limit;
	FILE *f;

	snprintf(file, sizeof(file), "/sys/block/%s/queue/%s", strrchr(path, '/') + 1, what);
	f = fopen(file, "re");
	if (!f || fscanf(f, "%ld", &limit) != 1)
		limit = -1;
	if (f)
		fclose(f);
	return limit;
}

/*
 * test_blk_limit - a request is as large as can be bounced at once, and no
 * smaller: an eighth of the pool, 256 kB at most (swiotlb_max_mapping_size() of
 * the series), but a logical block at least.  The pool of disks that have none
 * of their own is 4 MB at least (arch/arm64/mm/init.c), also in a crash kernel.
 */
int test_blk_limit(const char *group)
{
	long slots = pool_slots(model_disks_pool());
	long want = slots * SLOT / KB / 8, kb = -1;
	char disk_path[32];
	int block = 0, fd, direct;
	uint8_t *buf = NULL;

	(void)group;
	if (!*model_disks_pool() && slots < SLOTS) {
		box_result(RESULT_FAIL, "blk limit: there are %ld slots for disks that have no pool, not %d",
			   slots, SLOTS);
		return 1;
	}
	if (want > 256)
		want = 256;
	if (find_disk("data", disk_path, sizeof(disk_path)) >= 0) {
		/* A page of the page cache is in a row, those of a buffer need not be */
		direct = limit_of(disk_path, "max_segments") > 1 ? O_DIRECT : 0;
		fd = open(disk_path, O_RDONLY | direct | O_CLOEXEC);
		if (fd >= 0 && !ioctl(fd, BLKSSZGET, &block))
			buf = aligned_alloc(4096, block < 4096 ? 4096 : block);
		if (!buf || read(fd, buf, block) != block) {
			box_result(RESULT_FAIL, "blk limit: a block of %d bytes is not read: %s",
				   block, strerror(errno));
			return 1;
		}
		free(buf);
		close(fd);
		if (want < block / (int)KB)
			want = block / (int)KB;
		kb = limit_of(disk_path, "max_hw_sectors_kb");
	}
	if (kb != want)
		box_result(RESULT_FAIL, "blk limit: a request has %ld kB at most, of %ld that can be bounced",
			   kb, want);
	else
		box_result(RESULT_OK, "blk limit: a request has %ld kB at most, and a block %d bytes",
			   kb, block);
	return kb != want;
}

/* test_blk - block I/O through the disks' restricted pool */
int test_blk(const char *group)
{
	size_t size = MAX_REQUESTS * REQUEST;
	uint8_t *buf;
	int failed;

	(void)group;
	if (open_disk())
		return 1;
	buf = aligned_alloc(4096, size);
	if (!buf) {
		box_result(RESULT_FAIL, "blk: no memory");
		close(disk);
		return 1;
	}
	failed = !!test_sizes(buf);
	failed += test_buffered(buf);
	/* These take their time, so they are for guests with small pools */
	if (pool_slots(pool) != SLOTS) {
		failed += !!test_many(buf);
		failed += *pool && test_fragmented();
		failed += *pool && test_starved(buf);
		failed += *pool && test_starved_probe();
	}
	failed += !!test_flight("pool half full", 32, 0, 0, buf, 700, 1100);
	failed += !!test_flight("pool nearly full", 48, 0, 20, buf, 9, 400);
	/* Of these, not all fit: the rest waits for the first to come back */
	failed += !!test_flight("pool entirely full", 48, 50, 30, buf, 0, 8);
	free(buf);
	close(disk);
	return failed;
}
