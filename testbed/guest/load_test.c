// SPDX-License-Identifier: GPL-2.0
/*
 * A long random sequence of operations: two threads, each with devices of its
 * own, some of which share a pool with the other's, and a third that reads and
 * writes a disk.  The pools are full more often than not.
 *
 * What is held keeps its contents, or two have the same memory.  Now and then
 * the two threads meet, and the host's audit must equal the model.  In the end
 * everything is where it was: slots in use, free pages, what the host sees.
 *
 * The seed decides which operation comes next on which slot.  Which thread is
 * the first to get the last slots of a pool is not decided by it.
 *
 * testbed.load=SEED,OPERATIONS on the kernel's command line says how to begin.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "../driver/testbed.h"
#include "model.h"
#include "tests.h"

#define KB		1024U
#define THREADS		2
#define DEVICES		3	/* of a thread */
#define CHECKPOINT	500	/* operations of a thread */
#define TRANSFER	32	/* of so many, one is seen by the device */
#define MARK		256U	/* bytes at either end of what is held: all would take long */
#define BLOCK		(64 * KB)
#define BLOCKS		32
/* What the kernel may keep for itself of the free pages, for whatever reason */
#define FREE_PAGES	128

struct holder {
	const char *name;
	const char *pool;	/* it may be full; NULL: it is memory like any other */
	unsigned int slots;
	bool atomic;
	int dev;
	struct testbed_op ops[TESTBED_SLOTS];
};

static struct load_thread {
	struct holder holders[DEVICES];
	pthread_t thread;
	uint64_t random;
	unsigned int got, used, full, bad;
} threads[THREADS] = {
	{ .holders = { { .name = "pool-pair-64", .pool = "pair", .slots = 64, .atomic = true },
		       { .name = "plain-64", .slots = 24, .atomic = true },
		       { .name = "plain-noncoherent", .slots = 24 } } },
	{ .holders = { { .name = "pool-pair-32", .pool = "pair", .slots = 64, .atomic = true },
		       { .name = "plain-32", .slots = 24, .atomic = true },
		       { .name = "pool-noncoherent", .pool = "noncoherent", .slots = 64 } } },
};

static const char *const pools[] = { "pair", "noncoherent", "disks", "" };

static uint64_t load_seed = 1, load_ops = 10000;
static pthread_barrier_t meeting;
static atomic_bool load_ended;
static unsigned int load_bad, load_checks;
static atomic_uint disk_requests, disk_wrong;

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state * 0x2545f4914f6cdd1dULL >> 11;
}

/* Is it one that needs nothing but free memory, of which there is enough? */
static bool must_work(const struct holder *h, const struct testbed_op *op)
{
	return !h->pool && !(op->flags & TESTBED_ATOMIC) &&
	       op->kind != TESTBED_SINGLE && op->kind != TESTBED_SG;
}

static bool has_contents(const struct testbed_op *op)
{
	return op->kind == TESTBED_COHERENT || op->kind == TESTBED_PAGES ||
	       op->kind == TESTBED_NONCONTIGUOUS;
}

static void complain(struct load_thread *t, const struct holder *h,
		     const struct testbed_op *op, const char *what, int err)
{
	if (t->bad++ < 5)
		box_log("load: %s: slot %u, kind %u, %llu bytes, flags %u: %s%s%s",
			h->name, op->slot, op->kind, op->size, op->flags, what,
			err ? ": " : "", err ? strerror(-err) : "");
}

static int device_sees(const struct testbed_op *op, uint64_t seed)
{
	uint64_t bytes = op->size < MARK ? op->size : MARK;
	uint64_t args[3] = { op->dma[0], bytes, seed }, good = 0;
	int n = box_command(MAILBOX_CHECK, args, 3, NULL, &good, 1);

	return n < 0 ? n : good == bytes ? 0 : -EILSEQ;
}

/* Marks what is held at both ends, or sees whether the marks are still there */
static int mark(const struct holder *h, const struct testbed_op *op, bool fill)
{
	struct testbed_op part = *op;
	unsigned int end;
	int err = 0;

	if (part.size > MARK)
		part.size = MARK;
	for (end = 0; end < 2 && !err; end++) {
		/* Those of a short one are the same */
		part.offset = end ? op->size - part.size : 0;
		part.seed = op->seed + (part.offset ? 1 : 0);
		err = op_ioctl(h->dev, fill ? TESTBED_IOC_FILL : TESTBED_IOC_CHECK, &part);
		if (!err && !fill && part.good != part.size)
			err = -EILSEQ;
		if (op->size < 2 * MARK)
			break;
	}
	return err;
}

static void load_get(struct load_thread *t, struct holder *h,
		     struct testbed_op *op, uint64_t r)
{
	static const unsigned int sizes[] = {
		64, 1000, 2048, 4096, 4096, 6000, 8192, 12288, 16384, 32768, 49152, 65536,
	};
	static const uint32_t kinds[] = {
		TESTBED_COHERENT, TESTBED_COHERENT, TESTBED_PAGES, TESTBED_NO_MAPPING,
		TESTBED_NONCONTIGUOUS, TESTBED_SINGLE, TESTBED_SINGLE, TESTBED_SG,
	};
	static const uint32_t directions[] = { 0, TESTBED_TO_DEVICE, TESTBED_FROM_DEVICE, 0 };
	struct testbed_op new = { .slot = op->slot };
	int err;

	new.kind = kinds[r % 8];
	new.size = sizes[(r >> 3) % (sizeof(sizes) / sizeof(sizes[0]))];
	new.flags = directions[(r >> 8) % 4];
	/* Little of it, so that the pools for it do not grow in the midst of an audit */
	if (h->atomic && (r >> 10) % 8 == 0 && new.kind != TESTBED_NONCONTIGUOUS &&
	    op->slot < 4) {
		new.flags |= TESTBED_ATOMIC;
		if (new.size > 16384)
			new.size = 16384;
	}
	new.seed = r >> 16;
	/* What a driver finds is looked at byte by byte */
	if (new.kind == TESTBED_SINGLE && new.size <= 2048) {
		new.flags |= TESTBED_SECRET;
		new.offset = (r >> 13) % 3 * 777;
		new.seed = 0xe8e9eaebecedeeefULL;
	}
	err = op_ioctl(h->dev, TESTBED_IOC_GET, &new);
	if (err) {
		t->full++;
		if (must_work(h, &new) || (err != -ENOMEM && err != -EIO))
			complain(t, h, &new, "not got", err);
		return;
	}
	t->got++;
	*op = new;
	if (!has_contents(op))
		return;
	new.offset = 0;
	err = mark(h, op, true);
	if (!err && op->parts == 1 && (r >> 20) % TRANSFER == 0) {
		/* Without a cache to write back, memory is what the device sees */
		err = op_ioctl(h->dev, TESTBED_IOC_SYNC_DEVICE, &new);
		if (err == -EINVAL && op->kind == TESTBED_COHERENT)
			err = 0;
		if (!err)
			err = device_sees(op, op->seed);
	}
	if (err)
		complain(t, h, op, "the device does not see its data", err);
}

/* What is held keeps its contents, also if it is handed to and fro */
static void load_use(struct load_thread *t, struct holder *h, struct testbed_op *op)
{
	struct testbed_op use = *op;
	int err = 0;

	use.offset = 0;
	if (op->kind != TESTBED_COHERENT && op->kind != TESTBED_NO_MAPPING) {
		err = op_ioctl(h->dev, TESTBED_IOC_SYNC_CPU, &use);
		if (!err)
			err = op_ioctl(h->dev, TESTBED_IOC_SYNC_DEVICE, &use);
		if (err)
			complain(t, h, op, "not synced", err);
	}
	if (has_contents(op)) {
		err = mark(h, op, false);
		if (err)
			complain(t, h, op, "another has written to it", err);
	}
	t->used++;
}

static void load_put(struct load_thread *t, struct holder *h, struct testbed_op *op)
{
	struct testbed_op last = *op;
	int err;

	load_use(t, h, op);
	last.offset = 0;
	err = op_ioctl(h->dev, TESTBED_IOC_PUT, &last);
	if (err)
		complain(t, h, op, "not put", err);
	else if (op->flags & TESTBED_SECRET && (last.foreign || last.around))
		complain(t, h, op, "the driver finds what is not its own", 0);
	op->kind = TESTBED_NONE;
}

/* Do two have the same memory? */
static void find_overlaps(void)
{
	static struct { uint64_t from, to; } all[THREADS * DEVICES * TESTBED_SLOTS * TESTBED_SG_PARTS];
	unsigned int n = 0, i, j, k, part;

	for (i = 0; i < THREADS; i++)
		for (j = 0; j < DEVICES; j++)
			for (k = 0; k < TESTBED_SLOTS; k++) {
				const struct testbed_op *op = &threads[i].holders[j].ops[k];

				for (part = 0; op->kind && part < op->parts; part++) {
					all[n].from = op->dma[part];
					all[n++].to = op->dma[part] + op->len[part];
				}
			}
	for (i = 0; i < n; i++)
		for (j = 0; j < i; j++)
			if (all[i].from < all[j].to && all[j].from < all[i].to) {
				if (load_bad++ < 5)
					box_log("load: two have %#" PRIx64, all[i].from);
			}
}

static void check_all(const char *name)
{
	unsigned int i, j, k, part;

	find_overlaps();
	model_drop(0, 1ULL << 48);
	for (i = 0; i < THREADS; i++)
		for (j = 0; j < DEVICES; j++)
			for (k = 0; k < TESTBED_SLOTS; k++) {
				const struct testbed_op *op = &threads[i].holders[j].ops[k];

				for (part = 0; op->kind && part < op->parts; part++)
					model_hold(op->dma[part], op->len[part]);
			}
	load_bad += !!model_compare(name);
	load_checks++;
}

/* From round to round the threads change places, or do not: one frees what another CPU got */
static void choose_cpu(const struct load_thread *t, uint64_t round)
{
	uint64_t random = load_seed + round + 1;
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET((t - threads + next_random(&random) % 2) % sysconf(_SC_NPROCESSORS_ONLN), &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		box_log("load: sched_setaffinity: %s", strerror(errno));
}

static void *load_main(void *arg)
{
	struct load_thread *t = arg;
	char name[64];
	uint64_t i;

	for (i = 0; i < load_ops / THREADS; i++) {
		if (i % CHECKPOINT == 0)
			choose_cpu(t, i / CHECKPOINT);
		uint64_t r = next_random(&t->random);
		struct holder *h = t->holders + r % DEVICES;
		unsigned int slot = (r >> 2) % h->slots;

		h->ops[slot].slot = slot;
		r = next_random(&t->random);
		/* More is held than given back, so that the pools are full */
		if (h->ops[slot].kind && r % 4)
			load_use(t, h, h->ops + slot);
		else if (h->ops[slot].kind)
			load_put(t, h, h->ops + slot);
		else
			load_get(t, h, h->ops + slot, r);
		if ((i + 1) % CHECKPOINT)
			continue;
		/* Nobody does anything while one of them has it looked at */
		if (pthread_barrier_wait(&meeting) == PTHREAD_BARRIER_SERIAL_THREAD) {
			snprintf(name, sizeof(name), "load, after %" PRIu64 " operations",
				 (i + 1) * THREADS);
			check_all(name);
		}
		pthread_barrier_wait(&meeting);
	}
	return NULL;
}

/* Blocks of the disk, each with the pattern of what was written last */
static void *disk_main(void *arg)
{
	uint64_t random = load_seed + 77, seeds[BLOCKS];
	unsigned int i, n = 0;
	uint8_t *buf;
	int fd = *(int *)arg;

	buf = aligned_alloc(4096, BLOCK);
	if (!buf) {
		disk_wrong++;
		return NULL;
	}
	while (n < BLOCKS || !load_ended) {
		uint64_t r = next_random(&random);
		bool write = n < BLOCKS || r & 1;

		i = n < BLOCKS ? n : (r >> 1) % BLOCKS;
		if (write) {
			seeds[i] = r;
			pattern_fill(buf, BLOCK, r);
			if (pwrite(fd, buf, BLOCK, i * BLOCK) != (ssize_t)BLOCK)
				disk_wrong++;
		} else {
			memset(buf, 0x55, BLOCK);
			if (pread(fd, buf, BLOCK, i * BLOCK) != (ssize_t)BLOCK ||
			    pattern_check(buf, BLOCK, seeds[i]) != BLOCK)
				disk_wrong++;
		}
		n++;
		disk_requests = n;
	}
	free(buf);
	return NULL;
}

static long free_pages(void)
{
	char buf[4096], *line;

	shrink_caches();
	if (read_file("/proc/meminfo", buf, sizeof(buf)) < 0)
		return -1;
	line = strstr(buf, "MemFree:");
	return line ? strtol(line + 8, NULL, 10) / 4 : -1;
}

/* Has the pools for atomic allocations grow before it begins, for then they do not */
static void grow_pools(struct holder *h)
{
	struct testbed_op op;
	unsigned int i;

	/* They double when less than 128 kB is left; one that has none left warns */
	for (i = 0; i < 12; i++) {
		op = (struct testbed_op){ .slot = i, .kind = TESTBED_COHERENT,
					  .flags = TESTBED_ATOMIC, .size = 16 * KB };
		op_ioctl(h->dev, TESTBED_IOC_GET, &op);
		usleep(50000);
	}
	for (i = 0; i < 12; i++) {
		op = (struct testbed_op){ .slot = i };
		op_ioctl(h->dev, TESTBED_IOC_PUT, &op);
	}
}

/* How many mappings there is room for */
static unsigned int capacity(const struct holder *h)
{
	struct testbed_op op;
	unsigned int i, n;

	for (n = 0; n < TESTBED_SLOTS; n++) {
		op = (struct testbed_op){ .slot = n, .kind = TESTBED_SINGLE,
					  .flags = TESTBED_TO_DEVICE, .size = 32 * KB };
		if (op_ioctl(h->dev, TESTBED_IOC_GET, &op))
			break;
	}
	for (i = 0; i < n; i++) {
		op = (struct testbed_op){ .slot = i };
		op_ioctl(h->dev, TESTBED_IOC_PUT, &op);
	}
	return n;
}

/* Return: operations that went wrong */
static unsigned int run_load(uint64_t seed, uint64_t ops)
{
	unsigned int i, bad = 0;

	load_ops = ops;
	for (i = 0; i < THREADS; i++) {
		threads[i].random = seed * 2 + i + 1;
		threads[i].random *= 0x9e3779b97f4a7c15ULL;
		if (pthread_create(&threads[i].thread, NULL, load_main, threads + i)) {
			box_log("load: no thread");
			_exit(1);
		}
	}
	for (i = 0; i < THREADS; i++)
		pthread_join(threads[i].thread, NULL);
	for (i = 0; i < THREADS; i++) {
		unsigned int j, k;

		for (j = 0; j < DEVICES; j++)
			for (k = 0; k < TESTBED_SLOTS; k++)
				if (threads[i].holders[j].ops[k].kind)
					load_put(threads + i, threads[i].holders + j,
						 threads[i].holders[j].ops + k);
		bad += threads[i].bad;
	}
	return bad;
}

static void read_settings(void)
{
	char buf[4096], *p;

	if (read_file("/proc/cmdline", buf, sizeof(buf)) < 0)
		return;
	p = strstr(buf, "testbed.load=");
	if (p)
		sscanf(p, "testbed.load=%" SCNu64 ",%" SCNu64, &load_seed, &load_ops);
	/* Whole rounds, so that both threads come to all meetings */
	load_ops -= load_ops % (THREADS * CHECKPOINT);
	if (load_ops < THREADS * CHECKPOINT)
		load_ops = THREADS * CHECKPOINT;
}

/* test_load - a random sequence of operations on all devices, with block I/O */
int test_load(const char *group)
{
	long used[sizeof(pools) / sizeof(pools[0])], before, after, now;
	unsigned int room[THREADS][DEVICES], i, j, bad = 0, full = 0, got = 0;
	pthread_t disk_thread;
	uint64_t seed, ops;
	char path[32];
	int fd, err;

	(void)group;
	read_settings();
	seed = load_seed;
	ops = load_ops;
	err = load_module("/testbed.ko");
	for (i = 0; i < THREADS && !err; i++)
		for (j = 0; j < DEVICES && err >= 0; j++) {
			err = device_open(threads[i].holders[j].name);
			threads[i].holders[j].dev = err;
			err = err < 0 ? err : 0;
		}
	fd = find_disk("data", path, sizeof(path)) < 0 ? -1 :
	     open(path, O_RDWR | O_DIRECT | O_CLOEXEC);
	if (err || fd < 0) {
		box_result(RESULT_FAIL, "load: cannot begin: %s",
			   strerror(err ? -err : errno));
		return 1;
	}
	model_share("pair");
	model_share("noncoherent");
	model_region("own");
	box_log("load: seed %" PRIu64 ", %" PRIu64 " operations", seed, ops);
	pthread_barrier_init(&meeting, NULL, THREADS);
	for (i = 0; i < THREADS; i++)
		for (j = 0; j < DEVICES; j++)
			if (!threads[i].holders[j].pool)
				grow_pools(threads[i].holders + j);
	for (i = 0; i < sizeof(pools) / sizeof(pools[0]); i++)
		used[i] = pool_used(pools[i]);
	for (i = 0; i < THREADS; i++)
		for (j = 0; j < DEVICES; j++)
			room[i][j] = capacity(threads[i].holders + j);
	check_all("load, before");
	if (pthread_create(&disk_thread, NULL, disk_main, &fd)) {
		box_result(RESULT_FAIL, "load: no thread");
		return 1;
	}

	/* The kernel's own caches fill in the first round */
	bad += run_load(seed + 1, THREADS * CHECKPOINT);
	before = free_pages();
	bad += run_load(seed, ops);
	/* Some of it is freed a moment later */
	for (i = 0; (after = free_pages()) < before - FREE_PAGES && i < 10; i++)
		sleep(1);

	load_ended = true;
	pthread_join(disk_thread, NULL);
	check_all("load, afterwards");
	for (i = 0; i < sizeof(pools) / sizeof(pools[0]); i++) {
		for (j = 0; j < 1000 && (now = pool_used(pools[i])) != used[i]; j++)
			usleep(1000);
		if (now != used[i]) {
			box_log("load: pool '%s': %ld slots in use before, %ld after",
				pools[i], used[i], now);
			bad++;
		}
	}
	for (i = 0; i < THREADS; i++)
		for (j = 0; j < DEVICES; j++) {
			unsigned int n = capacity(threads[i].holders + j);

			/* The end of each 256 kB may do or not, by where it begins */
			if (n + 4 >= room[i][j])
				continue;
			box_log("load: %s: room for %u mappings before, for %u after",
				threads[i].holders[j].name, room[i][j], n);
			bad++;
		}
	if (before < 0 || after < before - FREE_PAGES) {
		box_log("load: %ld free pages before, %ld after", before, after);
		bad++;
	}
	for (i = 0; i < THREADS; i++) {
		full += threads[i].full;
		got += threads[i].got;
	}
	/* A load that does not come up against the pools' ends is none */
	if (!full || !got || !disk_requests)
		bad++;
	bad += load_bad + disk_wrong;
	close(fd);
	box_result(bad ? RESULT_FAIL : RESULT_OK,
		   "load: seed %" PRIu64 ", %" PRIu64 " operations, %u checks: %u wrong; %u got, %u found the pool full, %u disk requests; free pages %ld, then %ld%s",
		   seed, ops, load_checks, bad, got, full, (unsigned int)disk_requests,
		   before, after, bad ? "; again by --append testbed.load=SEED,OPERATIONS" : "");
	return !!bad;
}
