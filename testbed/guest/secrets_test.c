// SPDX-License-Identifier: GPL-2.0
/*
 * What the guest wrote to private memory may not be seen by the host, on no
 * path by which memory becomes shared; and no driver may find in its buffer
 * what belongs to another.
 *
 * Each path has a canary of its own.  It is left in all free memory, or in the
 * buffer that is mapped and beside it.  The host looks for it while the memory
 * is held and afterwards, and a thread of the host's looks all the time while
 * the guest does the same again and again: what is shared before it is zeroed
 * is seen for some instructions only.  What is put into a buffer for the
 * device, on purpose, is a pattern and not the canary.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "../driver/testbed.h"
#include "model.h"
#include "secrets.h"
#include "tests.h"

#define KB		1024U
#define PAGE		4096ULL
/*
 * The thread has to have seen the memory this often, of so many tries; more
 * where it is shared for the time of one operation, and shows what it held for
 * a small part of that
 */
#define LOOKS		1000
#define LOOKS_IN_POOL	200
#define TRIES		64
#define TRY		50

/* What another has left in a pool, which has 8 of these parts */
#define SOIL		0x736f696cULL
#define SOIL_PARTS	7

#define ATOMIC		TESTBED_ATOMIC
#define TO		TESTBED_TO_DEVICE
#define FROM		TESTBED_FROM_DEVICE
#define SKIP		TESTBED_SKIP_SYNC

static const struct allocation {
	const char *name, *device;
	enum testbed_kind kind;
	unsigned int size, flags, count;
} allocations[] = {
	{ "direct coherent", "plain-64", TESTBED_COHERENT, 4 * KB, 0, 16 },
	{ "direct coherent 64K", "plain-64", TESTBED_COHERENT, 64 * KB, 0, 4 },
	{ "direct coherent, 32 bits", "plain-32", TESTBED_COHERENT, 12 * KB, 0, 4 },
	{ "direct pages", "plain-64", TESTBED_PAGES, 16 * KB, 0, 8 },
	{ "direct no-mapping", "plain-64", TESTBED_NO_MAPPING, 8 * KB, 0, 4 },
	{ "direct noncontiguous", "plain-64", TESTBED_NONCONTIGUOUS, 16 * KB, 0, 4 },
	{ "remap", "plain-noncoherent", TESTBED_COHERENT, 12 * KB, 0, 8 },
	{ "remap pages", "plain-noncoherent", TESTBED_PAGES, 4 * KB, 0, 8 },
	/* More than the pools have: they expand */
	{ "atomic", "plain-64", TESTBED_COHERENT, 4 * KB, ATOMIC, 60 },
	{ "atomic pages", "plain-64", TESTBED_PAGES, 4 * KB, ATOMIC, 60 },
	{ "atomic non-coherent", "plain-noncoherent", TESTBED_COHERENT, 4 * KB, ATOMIC, 60 },
	{ "restricted coherent", "pool-pair-64", TESTBED_COHERENT, 64 * KB, 0, 4 },
	{ "restricted pages", "pool-pair-32", TESTBED_PAGES, 16 * KB, 0, 4 },
	{ "restricted non-coherent", "pool-noncoherent", TESTBED_COHERENT, 12 * KB, 0, 8 },
	{ "shared-dma-pool", "own-memory", TESTBED_COHERENT, 64 * KB, 0, 2 },
};

static const struct mapping {
	const char *name, *device;
	enum testbed_kind kind;
	unsigned int flags;
} mappings[] = {
	{ "swiotlb from device", "plain-64", TESTBED_SINGLE, FROM },
	{ "swiotlb to device", "plain-64", TESTBED_SINGLE, TO },
	{ "swiotlb both ways", "plain-64", TESTBED_SINGLE, 0 },
	{ "swiotlb scattered", "plain-64", TESTBED_SG, FROM },
	{ "swiotlb non-coherent", "plain-noncoherent", TESTBED_SINGLE, FROM },
	{ "restricted from device", "pool-pair-64", TESTBED_SINGLE, FROM },
	{ "restricted to device", "pool-pair-64", TESTBED_SINGLE, TO },
	{ "restricted both ways", "pool-pair-64", TESTBED_SINGLE, 0 },
	{ "restricted scattered", "pool-pair-64", TESTBED_SG, FROM },
	{ "restricted from device, non-coherent", "pool-noncoherent", TESTBED_SINGLE, FROM },
};

/* Buffers that fill their slots (of 2 kB), and others that leave room on either side */
static const struct buffer {
	unsigned int size, offset;
} buffers[] = {
	{ 4 * KB, 0 }, { 100, 13 }, { 3000, 2047 }, { 40 * KB, 0 }, { 7, 4093 },
};

/* A canary that has no CANARY_RUN bytes in common with one before it */
uint64_t secrets_canary(void)
{
	static uint8_t taken[8 * 8 * 8 * 8];
	static uint32_t random = 1;
	uint64_t word;
	uint8_t order[8];
	unsigned int i, key, round;

	do {
		for (i = 0; i < 8; i++) {
			unsigned int at;

			random = random * 1664525 + 1013904223;
			at = (random >> 16) % (i + 1);
			order[i] = order[at];
			order[at] = i;
		}
		for (round = 0; round < 2; round++)
			for (i = 0; i < 8; i++) {
				key = order[i] << 9 | order[(i + 1) % 8] << 6 |
				      order[(i + 2) % 8] << 3 | order[(i + 3) % 8];
				if (round)
					taken[key] = 1;
				else if (taken[key])
					break;
			}
	} while (i < 8);
	for (word = 0, i = 0; i < 8; i++)
		word |= (uint64_t)(CANARY_FIRST + order[i]) << 8 * i;
	return word;
}

/* Leaves a canary in all free memory.  Return: in how many pages, or -errno. */
long secrets_fill(uint64_t canary)
{
	int dev = device_open("plain-64");
	struct testbed_op op = { .seed = canary };
	int err = dev < 0 ? dev : op_ioctl(dev, TESTBED_IOC_FILL_FREE, &op);

	return err ? err : (long)op.good;
}

void secrets_begin(struct secrets *s, const char *name)
{
	*s = (struct secrets){ .name = name, .canary = secrets_canary() };
}

/* secrets_search - have the host look; the worst that it finds is what counts */
void secrets_search(struct secrets *s, const char *when, uint64_t addr, uint64_t bytes)
{
	struct box_range where;
	uint64_t pages;
	long found = box_search(s->canary, addr, bytes, &pages, &where);

	if (found < 0) {
		box_log("%s: search: %s", s->name, strerror(-found));
		s->bad++;
	} else if (found) {
		if (!s->bytes)
			box_log("%s: %s: the host sees %ld bytes in %" PRIu64 " pages, the first %#" PRIx64,
				s->name, when, found, pages, where.addr);
		if (found > s->bytes) {
			s->bytes = found;
			s->pages = pages;
		}
	}
}

/* The host's thread looks at this range from now on */
void secrets_watch(struct secrets *s, uint64_t addr, uint64_t bytes)
{
	struct box_watch seen;

	s->no_watch = box_watch(s->canary, addr, bytes, &seen);
}

void secrets_watched(struct secrets *s)
{
	struct box_watch seen;

	if (s->no_watch || box_watch(0, 0, 0, &seen))
		return;
	s->visible += seen.visible;
	if (seen.found && !s->found)
		box_log("%s: while the guest runs: the host sees %" PRIu64 " bytes at %#" PRIx64,
			s->name, seen.bytes, seen.last);
	s->found += seen.found;
}

/* secrets_end - Return: whether it failed; reported */
int secrets_end(struct secrets *s)
{
	const char *name = s->name;
	char looks[64] = "one processor, no looking on";
	int failed = s->bytes || s->found || s->bad;

	if (!s->no_watch)
		snprintf(looks, sizeof(looks), "%" PRIu64 " of %" PRIu64 " looks",
			 s->found, s->visible);
	if (s->unreachable)
		box_result(RESULT_FAIL, "secrets %s: the device cannot reach it", name);
	else
		box_result(failed ? RESULT_FAIL : RESULT_OK,
			   "secrets %s: the host sees %ld bytes in %" PRIu64 " pages; %s%s",
			   name, s->bytes, s->pages, looks,
			   s->bad ? "; errors" : "");
	if (s->buffers)
		box_result(s->wrong || s->foreign || s->around ? RESULT_FAIL : RESULT_OK,
			   "buffers %s: the driver finds %" PRIu64 " bytes that are not its own, %" PRIu64
			   " changed beside its buffer, %" PRIu64 " lost; %u buffers",
			   name, s->foreign, s->around, s->wrong, s->buffers);
	return (failed || s->unreachable) +
	       (s->buffers && (s->wrong || s->foreign || s->around));
}

/* The memory of @op that the host can see, in pages */
static uint64_t visible_pages(const struct testbed_op *op)
{
	struct box_range ranges[64];
	uint64_t pages = 0, n;
	unsigned int i;

	for (i = 0; i < op->parts; i++)
		if (box_audit(op->dma[i], op->len[i], &n, ranges, 64) >= 0)
			pages += n;
	return pages;
}

static int get_and_put(struct secrets *s, int dev, struct testbed_op *op)
{
	struct testbed_op put;
	int err;

	op->seed = s->canary;
	err = op_ioctl(dev, TESTBED_IOC_GET, op);
	if (err) {
		box_log("%s: %s", s->name, strerror(-err));
		s->bad++;
		return err;
	}
	put = *op;
	put.offset = 0;
	return op_ioctl(dev, TESTBED_IOC_PUT, &put);
}

/*
 * Again and again, with the canary in the pages that come next; these are
 * mostly the same ones, and where they are is seen from the last time.
 */
static void again(struct secrets *s, int dev, const struct testbed_op *like,
		  uint64_t looks)
{
	struct testbed_op op = { .slot = like->slot, .kind = like->kind,
				 .size = like->size,
				 .flags = like->flags | TESTBED_SECRET };
	unsigned int try, i;

	for (try = 0; try < TRIES && s->visible < looks && !s->bad; try++) {
		if (get_and_put(s, dev, &op))
			return;
		secrets_watch(s, op.dma[0], op.len[0]);
		if (s->no_watch)
			return;
		for (i = 0; i < TRY && !get_and_put(s, dev, &op); i++)
			;
		secrets_watched(s);
	}
	if (!s->visible) {
		box_log("%s: the host's thread has never seen the memory", s->name);
		s->bad++;
	}
}

static int test_allocation(const struct allocation *a)
{
	static struct testbed_op ops[TESTBED_SLOTS];
	struct secrets s;
	unsigned int n, held;
	int dev = device_open(a->device), err = 0;
	long pages;

	secrets_begin(&s, a->name);
	pages = dev < 0 ? dev : secrets_fill(s.canary);
	if (pages < 0) {
		box_result(RESULT_FAIL, "secrets %s: cannot fill free memory: %s",
			   a->name, strerror(-pages));
		return 1;
	}
	for (n = 0; n < a->count && !err; n++) {
		ops[n] = (struct testbed_op){ .slot = n, .kind = a->kind,
					      .flags = a->flags, .size = a->size };
		/* An atomic pool that runs low grows, behind who asks */
		if (a->flags & ATOMIC)
			err = op_ioctl(dev, TESTBED_IOC_SETTLE, ops + n);
		if (!err)
			err = op_ioctl(dev, TESTBED_IOC_GET, ops + n);
	}
	held = err ? n - 1 : n;
	if (err) {
		box_log("%s: %u of %u allocations: %s", a->name, held, a->count,
			strerror(-err));
		s.bad++;
	}
	s.unreachable = !held || !visible_pages(ops);
	secrets_search(&s, "held", 0, 0);
	for (n = held; n--; )
		op_ioctl(dev, TESTBED_IOC_PUT, ops + n);
	secrets_search(&s, "afterwards", 0, 0);
	if (!s.unreachable)
		again(&s, dev, ops, a->flags & ATOMIC ? LOOKS_IN_POOL : LOOKS);
	return secrets_end(&s);
}

/* Leaves what is another's all over the pool: slots are taken in turn */
static void soil(int dev)
{
	unsigned int i, n;

	for (n = 0; n < SOIL_PARTS; n++) {
		struct testbed_op op = { .slot = n, .kind = TESTBED_SINGLE,
					 .flags = TO | TESTBED_SECRET,
					 .size = 128 * KB, .seed = SOIL + n };

		if (op_ioctl(dev, TESTBED_IOC_GET, &op))
			break;
	}
	for (i = 0; i < n; i++) {
		struct testbed_op op = { .slot = i };

		op_ioctl(dev, TESTBED_IOC_PUT, &op);
	}
}

/* What a device does with a buffer: nothing, a part of it, or all */
static uint64_t written(unsigned int part, const struct testbed_op *op)
{
	uint64_t bytes = op->parts ? op->len[0] : 0;

	return part == 0 ? 0 : part == 1 ? bytes / 2 : bytes;
}

static int device_writes(const struct testbed_op *op, uint64_t bytes, uint64_t seed)
{
	uint64_t args[3] = { op->dma[0], bytes, seed };
	int n = bytes ? box_command(MAILBOX_FILL, args, 3, NULL, NULL, 0) : 0;

	return n < 0 ? n : 0;
}

/* The whole of the slots around the parts, as far as they can reach */
static void search_parts(struct secrets *s, const struct testbed_op *op, const char *when)
{
	unsigned int i;

	for (i = 0; i < op->parts; i++) {
		uint64_t from = (op->dma[i] & ~(PAGE - 1)) - PAGE;

		secrets_search(s, when, from, op->dma[i] + op->len[i] + 2 * PAGE - from);
	}
}

static void test_buffer(struct secrets *s, int dev, const struct mapping *m,
			const struct buffer *b, unsigned int part)
{
	struct testbed_op op = {
		.kind = m->kind, .flags = m->flags | TESTBED_SECRET, .size = b->size,
		.offset = m->kind == TESTBED_SINGLE ? b->offset : 0, .seed = s->canary,
	}, sync;
	uint64_t bytes;
	int err;

	err = op_ioctl(dev, TESTBED_IOC_GET, &op);
	if (err) {
		box_log("%s: %u bytes at %u: %s", s->name, b->size, b->offset, strerror(-err));
		s->bad++;
		return;
	}
	if (!visible_pages(&op)) {
		s->unreachable = true;
		op_ioctl(dev, TESTBED_IOC_PUT, &op);
		return;
	}
	search_parts(s, &op, "mapped");
	bytes = m->flags & (TO | SKIP) ? 0 : written(part, &op);
	sync = op;
	sync.offset = 0;
	/* To sync what is for the device to read is to show it on purpose */
	err = m->flags & SKIP ? 0 : op_ioctl(dev, TESTBED_IOC_SYNC_CPU, &sync);
	if (!err && !(m->flags & SKIP))
		err = op_ioctl(dev, TESTBED_IOC_SYNC_DEVICE, &sync);
	search_parts(s, &op, "synced");
	if (!err)
		err = device_writes(&op, bytes, 0x5eed + part);
	/* What the device has written so far comes by the sync or by the unmap */
	if (!err && part == 2 && !(m->flags & SKIP))
		err = op_ioctl(dev, TESTBED_IOC_SYNC_CPU, &sync);
	op.seed = 0x5eed + part;
	op.offset = bytes;
	if (!err)
		err = op_ioctl(dev, TESTBED_IOC_PUT, &op);
	if (err) {
		box_log("%s: %u bytes at %u: %s", s->name, b->size, b->offset, strerror(-err));
		s->bad++;
		return;
	}
	if (op.wrong || op.foreign || op.around)
		box_log("%s: %u bytes at %u, of which the device has written %" PRIu64
			": %llu lost, %llu not the driver's, %llu beside it",
			s->name, b->size, b->offset, bytes, op.wrong, op.foreign,
			op.around);
	s->wrong += op.wrong;
	s->foreign += op.foreign;
	s->around += op.around;
	s->buffers++;
	search_parts(s, &op, "unmapped");
}

static int test_mapping(const struct mapping *m)
{
	const struct testbed_op op = { .kind = m->kind, .flags = m->flags,
				       .size = 4 * KB };
	int dev = device_open(m->device);
	struct secrets s;
	unsigned int part;
	size_t i;

	secrets_begin(&s, m->name);
	if (dev < 0) {
		box_result(RESULT_FAIL, "secrets %s: %s: %s", m->name, m->device,
			   strerror(-dev));
		return 1;
	}
	soil(dev);
	for (i = 0; i < sizeof(buffers) / sizeof(buffers[0]); i++)
		for (part = 0; part < (m->flags & (TO | SKIP) ? 1 : 3); part++)
			test_buffer(&s, dev, m, buffers + i, part);
	if (!s.unreachable)
		again(&s, dev, &op, LOOKS_IN_POOL);
	secrets_search(&s, "in the end", 0, 0);
	return secrets_end(&s);
}

static bool there_is(const char *name, const char *device)
{
	char path[64];

	snprintf(path, sizeof(path), "/dev/testbed-%s", device);
	if (!access(path, F_OK))
		return true;
	box_result(RESULT_SKIP, "secrets %s: not in this device tree", name);
	return false;
}

/* A number in the default pool's folder of debugfs, or -1 */
static long default_pool(const char *file)
{
	char path[64], text[32];

	snprintf(path, sizeof(path), "/sys/kernel/debug/swiotlb/%s", file);
	return read_file(path, text, sizeof(text)) < 0 ? -1 : atol(text);
}

/*
 * The default pool is filled until it grows, with a canary in all free memory:
 * a mapping is served by a pool of its own until there is another for all.
 */
static int test_growing_pool(void)
{
	static struct testbed_op ops[TESTBED_SLOTS];
	long before = default_pool("io_tlb_nslabs");
	unsigned int n, own = 0;
	struct secrets s;
	int dev, err = 0;

	secrets_begin(&s, "swiotlb that grows");
	if (default_pool("io_tlb_transient_nslabs") < 0) {
		box_result(RESULT_SKIP, "secrets %s: the kernel has no SWIOTLB_DYNAMIC", s.name);
		return 0;
	}
	dev = device_open("plain-64");
	if (dev < 0 || secrets_fill(s.canary) < 0) {
		box_result(RESULT_FAIL, "secrets %s: cannot begin", s.name);
		return 1;
	}
	for (n = 0; n < TESTBED_SLOTS && !err; n++) {
		ops[n] = (struct testbed_op){ .slot = n, .kind = TESTBED_SINGLE,
					      .flags = FROM | TESTBED_SECRET,
					      .size = 128 * KB, .seed = s.canary };
		err = op_ioctl(dev, TESTBED_IOC_GET, ops + n);
		if (!err && !own && default_pool("io_tlb_transient_nslabs") > 0) {
			own = n + 1;
			secrets_search(&s, "in a pool of its own", 0, 0);
		}
	}
	if (err)
		n--;
	ioctl(dev, TESTBED_IOC_SETTLE);
	box_log("%s: %u mappings, the first in a pool of its own was %u; %ld slots were %ld",
		s.name, n, own, default_pool("io_tlb_nslabs"), before);
	s.bad += !own || default_pool("io_tlb_nslabs") <= before;
	s.unreachable = !n || !visible_pages(ops);
	secrets_search(&s, "held", 0, 0);
	while (n--) {
		ops[n].seed = ops[n].offset = 0;
		op_ioctl(dev, TESTBED_IOC_PUT, ops + n);
	}
	secrets_search(&s, "afterwards", 0, 0);
	if (!s.unreachable)
		again(&s, dev, ops, LOOKS_IN_POOL);
	return secrets_end(&s);
}

/* test_secrets - each path of the DMA API by which memory becomes shared */
int test_secrets(const char *group)
{
	int failed = 0, err = load_module("/testbed.ko");
	size_t i;

	(void)group;
	if (err) {
		box_result(RESULT_FAIL, "secrets: /testbed.ko: %s", strerror(-err));
		return 1;
	}
	for (i = 0; i < sizeof(allocations) / sizeof(allocations[0]); i++)
		if (there_is(allocations[i].name, allocations[i].device))
			failed += test_allocation(allocations + i);
	for (i = 0; i < sizeof(mappings) / sizeof(mappings[0]); i++)
		if (there_is(mappings[i].name, mappings[i].device))
			failed += test_mapping(mappings + i);
	return failed + test_growing_pool();
}
