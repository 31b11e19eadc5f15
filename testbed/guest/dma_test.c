// SPDX-License-Identifier: GPL-2.0
/*
 * The driver's scripted sequences: tables of steps.  After each step the host's
 * audit must equal the model, and data must pass between the processor and the
 * device, both ways, through what the step has allocated or mapped.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../driver/testbed.h"
#include "model.h"
#include "tests.h"

#define KB		1024U
#define MAX_DEVICES	8
#define MAX_STEPS	48

enum action {
	END,
	GET,		/* allocate or map; @err is what it must end with */
	PUT,		/* free or unmap */
	MMAP,		/* map to user space, and let data pass there */
	EXHAUST,	/* allocate until there is no more, then free all of it */
};

struct step {
	enum action action;
	const char *device;
	unsigned int slot;
	enum testbed_kind kind;
	unsigned int size, flags;
	int err;
};

/* What the steps of a sequence are about, and whose memory it should be */
struct sequence {
	const char *group;
	const char *name;
	const char *pool;	/* node of the devices' own pool, or NULL */
	bool shared_memory;	/* it is a shared-dma-pool */
	struct step steps[MAX_STEPS];
};

#define G(dev, slot, kind, size, flags)	{ GET, dev, slot, TESTBED_##kind, size, flags, 0 }
#define P(dev, slot)			{ PUT, dev, slot, 0, 0, 0, 0 }
#define M(dev, slot)			{ MMAP, dev, slot, 0, 0, 0, 0 }
#define X(dev, slot, kind, size, flags)	{ EXHAUST, dev, slot, TESTBED_##kind, size, flags, 0 }
#define BAD(dev, slot, kind, size, flags, err) \
	{ GET, dev, slot, TESTBED_##kind, size, flags, err }

#define ATOMIC	TESTBED_ATOMIC
#define TO	TESTBED_TO_DEVICE
#define FROM	TESTBED_FROM_DEVICE

/* The same for every device: each kind, sizes around the borders, order of freeing */
#define ALLOCATIONS(dev)				\
	G(dev, 0, COHERENT, 4 * KB, 0),			\
	G(dev, 1, COHERENT, 100, 0),			\
	G(dev, 2, COHERENT, 12 * KB, 0),		\
	M(dev, 2),					\
	P(dev, 0),					\
	G(dev, 3, COHERENT, 64 * KB, 0),		\
	P(dev, 2),					\
	P(dev, 3),					\
	P(dev, 1),					\
	G(dev, 4, PAGES, 4 * KB, 0),			\
	G(dev, 5, PAGES, 32 * KB, 0),			\
	P(dev, 4),					\
	P(dev, 5),					\
	G(dev, 6, NO_MAPPING, 8 * KB, 0),		\
	M(dev, 6),					\
	P(dev, 6),					\
	G(dev, 7, NONCONTIGUOUS, 16 * KB, 0),		\
	P(dev, 7)

#define ATOMIC_ALLOCATIONS(dev)				\
	G(dev, 10, COHERENT, 4 * KB, ATOMIC),		\
	G(dev, 11, COHERENT, 20 * KB, ATOMIC),		\
	P(dev, 10),					\
	P(dev, 11),					\
	G(dev, 12, PAGES, 4 * KB, ATOMIC),		\
	P(dev, 12)

#define MAPPINGS(dev)					\
	G(dev, 20, SINGLE, 64, TO),			\
	G(dev, 21, SINGLE, 4 * KB, FROM),		\
	G(dev, 22, SINGLE, 100000, 0),			\
	P(dev, 21),					\
	P(dev, 20),					\
	G(dev, 23, SINGLE, 2 * KB, ATOMIC),		\
	G(dev, 24, SG, 40 * KB, 0),			\
	P(dev, 22),					\
	P(dev, 24),					\
	P(dev, 23)

static const struct sequence sequences[] = {
	{ "dma-pool", "pool-pair-64", "pair", false,
	  { ALLOCATIONS("pool-pair-64"), ATOMIC_ALLOCATIONS("pool-pair-64"),
	    MAPPINGS("pool-pair-64"),
	    /* More than the pool has, and more than it can ever map in one piece */
	    BAD("pool-pair-64", 25, COHERENT, 2048 * KB, 0, -ENOMEM),
	    BAD("pool-pair-64", 25, SINGLE, 260 * KB, TO, -EIO),
	    X("pool-pair-64", 30, COHERENT, 64 * KB, 0) } },
	{ "dma-pool", "pool-pair-32", "pair", false,
	  { ALLOCATIONS("pool-pair-32"), ATOMIC_ALLOCATIONS("pool-pair-32"),
	    MAPPINGS("pool-pair-32"),
	    X("pool-pair-32", 30, PAGES, 32 * KB, 0) } },
	{ "dma-pool", "two devices share a pool", "pair", false,
	  { G("pool-pair-64", 0, COHERENT, 64 * KB, 0),
	    G("pool-pair-32", 0, COHERENT, 64 * KB, 0),
	    P("pool-pair-64", 0),
	    G("pool-pair-32", 1, SINGLE, 8 * KB, TO),
	    G("pool-pair-64", 1, SINGLE, 8 * KB, FROM),
	    P("pool-pair-32", 0),
	    P("pool-pair-32", 1),
	    P("pool-pair-64", 1) } },
	{ "dma-pool", "pool-noncoherent", "noncoherent", false,
	  { ALLOCATIONS("pool-noncoherent"), MAPPINGS("pool-noncoherent"),
	    X("pool-noncoherent", 30, COHERENT, 64 * KB, 0) } },
	{ "dma-pool-atomic", "pool-noncoherent atomic", "noncoherent", false,
	  { ATOMIC_ALLOCATIONS("pool-noncoherent") } },
	{ "dma-plain", "plain-64", NULL, false,
	  { ALLOCATIONS("plain-64"), ATOMIC_ALLOCATIONS("plain-64") } },
	{ "dma-plain", "plain-32", NULL, false,
	  { ALLOCATIONS("plain-32"), ATOMIC_ALLOCATIONS("plain-32") } },
	{ "dma-plain", "plain-noncoherent", NULL, false,
	  { ALLOCATIONS("plain-noncoherent"),
	    ATOMIC_ALLOCATIONS("plain-noncoherent") } },
	{ "dma-plain-map", "plain-64 mappings", NULL, false,
	  { MAPPINGS("plain-64") } },
	{ "dma-plain-map", "plain-32 mappings", NULL, false,
	  { MAPPINGS("plain-32") } },
	{ "dma-plain-map", "plain-noncoherent mappings", NULL, false,
	  { MAPPINGS("plain-noncoherent") } },
	{ "dma-refused", "a device whose pool is refused", NULL, false,
	  { ALLOCATIONS("pool-noncoherent"),
	    ATOMIC_ALLOCATIONS("pool-noncoherent") } },
	{ "dma-refused", "its mappings", NULL, false,
	  { MAPPINGS("pool-noncoherent") } },
	{ "dma-own", "own-memory", "own", true,
	  { G("own-memory", 0, COHERENT, 4 * KB, 0),
	    G("own-memory", 1, COHERENT, 64 * KB, 0),
	    P("own-memory", 0),
	    G("own-memory", 2, COHERENT, 4 * KB, ATOMIC),
	    P("own-memory", 1),
	    P("own-memory", 2) } },
};

static const char *const action_names[] = {
	"end", "get", "put", "mmap", "exhaust",
};

static const char *const kind_names[] = {
	"", "coherent", "pages", "no-mapping", "noncontiguous", "single", "sg",
};

struct device {
	const char *name;
	int fd;
};

static struct device devices[MAX_DEVICES];
/* What each device's slots hold */
static struct testbed_op slots[MAX_DEVICES][TESTBED_SLOTS];

int device_open(const char *name)
{
	char path[64];
	int i;

	for (i = 0; i < MAX_DEVICES && devices[i].name; i++)
		if (!strcmp(devices[i].name, name))
			return i;
	if (i == MAX_DEVICES)
		return -ENOSPC;
	snprintf(path, sizeof(path), "/dev/testbed-%s", name);
	devices[i].fd = open(path, O_RDWR | O_CLOEXEC);
	if (devices[i].fd < 0)
		return -errno;
	devices[i].name = name;
	return i;
}

/**
 * load_module - load a module, if it is not there already
 * @path: its file
 *
 * Return: 0 or a negative errno.
 */
int load_module(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), err = 0;

	if (fd < 0)
		return -errno;
	if (syscall(SYS_finit_module, fd, "", 0) && errno != EEXIST)
		err = -errno;
	close(fd);
	return err;
}

int op_ioctl(int dev, unsigned long cmd, struct testbed_op *op)
{
	return ioctl(devices[dev].fd, cmd, op) ? -errno : 0;
}

int device_bench(int dev, struct testbed_bench *bench)
{
	return ioctl(devices[dev].fd, TESTBED_IOC_BENCH, bench) ? -errno : 0;
}

/* The device writes (or reads and compares) all parts, as one pattern a part */
static int device_transfer(const struct testbed_op *op, bool fill, uint64_t seed)
{
	unsigned int i;

	for (i = 0; i < op->parts; i++) {
		uint64_t args[3] = { op->dma[i], op->len[i], seed + i }, good;
		int n = box_command(fill ? MAILBOX_FILL : MAILBOX_CHECK, args, 3,
				    NULL, &good, fill ? 0 : 1);

		if (n < 0)
			return n;
		if (!fill && good != op->len[i])
			return -EILSEQ;
	}
	return 0;
}

/* The same by the processor */
static int cpu_transfer(int dev, struct testbed_op *op, bool fill, uint64_t seed)
{
	struct testbed_op part = *op;
	unsigned int i;
	int err;

	part.offset = 0;
	for (i = 0; i < op->parts; i++) {
		part.seed = seed + i;
		part.size = op->len[i];
		err = op_ioctl(dev, fill ? TESTBED_IOC_FILL : TESTBED_IOC_CHECK,
			       &part);
		if (err)
			return err;
		if (!fill && part.good != part.size)
			return -EILSEQ;
		part.offset += part.size;
	}
	return 0;
}

static bool needs_sync(const struct testbed_op *op)
{
	return op->kind != TESTBED_COHERENT && op->kind != TESTBED_NO_MAPPING;
}

/* Data from processor to device and back, through what @op has got */
int device_pass_data(int dev, struct testbed_op *op)
{
	static uint64_t seed;
	int err = 0;

	/* Without an address in the kernel: see the MMAP steps */
	if (op->kind == TESTBED_NO_MAPPING)
		return 0;
	if (!(op->flags & FROM)) {
		seed += TESTBED_SG_PARTS;
		err = cpu_transfer(dev, op, true, seed);
		if (!err && needs_sync(op))
			err = op_ioctl(dev, TESTBED_IOC_SYNC_DEVICE, op);
		if (!err)
			err = device_transfer(op, false, seed);
		if (err) {
			box_log("data to the device: %s", strerror(-err));
			return err;
		}
	}
	if (!(op->flags & TO)) {
		seed += TESTBED_SG_PARTS;
		err = device_transfer(op, true, seed);
		if (!err && needs_sync(op))
			err = op_ioctl(dev, TESTBED_IOC_SYNC_CPU, op);
		if (!err)
			err = cpu_transfer(dev, op, false, seed);
		if (err)
			box_log("data from the device: %s", strerror(-err));
	}
	return err;
}

/* Return: 0, or 1 if the memory is not where the device's should be */
static int check_place(const struct sequence *seq, const struct testbed_op *op)
{
	uint64_t addr, bytes;
	unsigned int i;

	if (!seq->pool || model_find(seq->pool, &addr, &bytes))
		return 0;
	for (i = 0; i < op->parts; i++)
		if (op->dma[i] < addr || op->len[i] > bytes ||
		    op->dma[i] - addr > bytes - op->len[i]) {
			box_log("%#llx is outside of the device's pool '%s'",
				op->dma[i], seq->pool);
			return 1;
		}
	return 0;
}

static void hold(const struct testbed_op *op, bool yes)
{
	unsigned int i;

	for (i = 0; i < op->parts; i++)
		if (yes)
			model_hold(op->dma[i], op->len[i]);
		else
			model_drop(op->dma[i], op->len[i]);
}

static int do_get(const struct sequence *seq, int dev, const struct step *step,
		  const char *name)
{
	struct testbed_op *op = &slots[dev][step->slot];
	int err, bad = 0;

	*op = (struct testbed_op){ .slot = step->slot, .kind = step->kind,
				   .flags = step->flags, .size = step->size };
	err = op_ioctl(dev, TESTBED_IOC_GET, op);
	if (err != step->err) {
		box_log("%s: %s, not %s", name, err ? strerror(-err) : "worked",
			step->err ? strerror(-step->err) : "worked");
		bad = 1;
	}
	if (err) {
		op->kind = TESTBED_NONE;
		return bad | !!model_compare(name);
	}
	bad |= check_place(seq, op);
	hold(op, true);
	/* The audit first: passing data must not be what makes a page visible */
	bad |= !!model_compare(name);
	if (device_pass_data(dev, op)) {
		box_log("%s: the data did not pass", name);
		bad = 1;
	}
	return bad;
}

static int do_put(int dev, unsigned int slot, const char *name)
{
	struct testbed_op *op = &slots[dev][slot];
	bool from_device;
	int err, bad = 0;

	/* What an earlier step did not get has been reported there */
	if (!op->kind)
		return 0;
	/* What the device writes last comes to the buffer when it is unmapped */
	from_device = op->kind == TESTBED_SINGLE && !(op->flags & TO);
	if (from_device) {
		op->seed = 0x756e6d6170 + slot;
		if (device_transfer(op, true, op->seed))
			bad = 1;
	}
	err = op_ioctl(dev, TESTBED_IOC_PUT, op);
	if (err) {
		box_log("%s: %s", name, strerror(-err));
		return 1;
	}
	hold(op, false);
	if (from_device && op->good != op->size) {
		box_log("%s: of %llu bytes from the device, %llu are right after unmap",
			name, op->size, op->good);
		bad = 1;
	}
	op->kind = TESTBED_NONE;
	return bad;
}

static int do_mmap(int dev, unsigned int slot, const char *name)
{
	struct testbed_op *op = &slots[dev][slot];
	size_t size = (op->size + 4095) & ~4095UL;
	uint64_t seed = 0x6d6d6170 + slot;
	void *p;
	int err;

	if (!op->kind)
		return 0;
	p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, devices[dev].fd,
		 TESTBED_MMAP_OFFSET(slot));
	if (p == MAP_FAILED) {
		box_log("%s: %s", name, strerror(errno));
		return 1;
	}
	pattern_fill(p, op->size, seed);
	err = device_transfer(op, false, seed);
	if (!err)
		err = device_transfer(op, true, ++seed);
	if (!err && pattern_check(p, op->size, seed) != op->size)
		err = -EILSEQ;
	munmap(p, size);
	if (err)
		box_log("%s: data: %s", name, strerror(-err));
	return !!err;
}

/* Allocates until the pool is empty; every slot must come back afterwards */
static int do_exhaust(const struct sequence *seq, int dev,
		      const struct step *step, const char *name)
{
	unsigned int n = 0, i;
	int bad = 0, err = 0;

	while (step->slot + n < TESTBED_SLOTS && !err) {
		struct testbed_op *op = &slots[dev][step->slot + n];

		*op = (struct testbed_op){ .slot = step->slot + n,
					   .kind = step->kind,
					   .flags = step->flags,
					   .size = step->size };
		err = op_ioctl(dev, TESTBED_IOC_GET, op);
		if (err) {
			op->kind = TESTBED_NONE;
			break;
		}
		bad |= check_place(seq, op);
		hold(op, true);
		n++;
	}
	if (err != -ENOMEM || !n) {
		box_log("%s: %u allocated, then: %s", name, n,
			err ? strerror(-err) : "no end");
		bad = 1;
	}
	bad |= !!model_compare(name);
	for (i = 0; i < n; i++)
		bad |= do_put(dev, step->slot + i, name);
	return bad;
}

static int do_step(const struct sequence *seq, const struct step *step,
		   unsigned int nr)
{
	int dev = device_open(step->device), bad = 0;
	char name[160];

	if (step->action == GET || step->action == EXHAUST)
		snprintf(name, sizeof(name), "%s step %u (%s: %s %s %u bytes%s%s%s, slot %u)",
			 seq->name, nr, step->device, action_names[step->action],
			 kind_names[step->kind], step->size,
			 step->flags & ATOMIC ? " atomic" : "",
			 step->flags & TO ? " to device" : "",
			 step->flags & FROM ? " from device" : "", step->slot);
	else
		snprintf(name, sizeof(name), "%s step %u (%s: %s, slot %u)",
			 seq->name, nr, step->device, action_names[step->action],
			 step->slot);
	if (dev < 0) {
		box_log("%s: %s", name, strerror(-dev));
		return 1;
	}
	switch (step->action) {
	case GET:
		return do_get(seq, dev, step, name);
	case PUT:
		bad = do_put(dev, step->slot, name);
		break;
	case MMAP:
		bad = do_mmap(dev, step->slot, name);
		break;
	case EXHAUST:
		bad = do_exhaust(seq, dev, step, name);
		break;
	case END:
		break;
	}
	return bad | !!model_compare(name);
}

static int run_sequence(const struct sequence *seq)
{
	unsigned int i, bad = 0, leaked = 0;
	long before = 0, after;

	if (seq->pool && !seq->shared_memory)
		before = pool_used(seq->pool);
	for (i = 0; i < MAX_STEPS && seq->steps[i].action != END; i++)
		bad += do_step(seq, &seq->steps[i], i + 1);
	if (seq->pool && !seq->shared_memory) {
		after = pool_used(seq->pool);
		if (after != before || after < 0) {
			box_log("%s: slots in use: %ld before, %ld after",
				seq->name, before, after);
			leaked = 1;
		}
	}
	if (bad || leaked)
		box_result(RESULT_FAIL, "dma %s: %u of %u steps are wrong%s",
			   seq->name, bad, i, leaked ? ", slots are lost" : "");
	else
		box_result(RESULT_OK, "dma %s: %u steps, each audited", seq->name, i);
	return bad + leaked;
}

/* Are there the devices that the sequence names? */
static bool has_devices(const struct sequence *seq)
{
	char path[64];
	unsigned int i;

	for (i = 0; i < MAX_STEPS && seq->steps[i].action != END; i++) {
		snprintf(path, sizeof(path), "/dev/testbed-%s", seq->steps[i].device);
		if (access(path, F_OK))
			return false;
	}
	return true;
}

/**
 * test_dma - run the driver's sequences of a group
 * @group: dma-pool, dma-pool-atomic, dma-plain, dma-plain-map, dma-refused or
 * dma-own
 *
 * Return: how many failed.
 */
int test_dma(const char *group)
{
	int failed = 0, err;
	size_t i;

	err = load_module("/testbed.ko");
	if (err) {
		box_result(err == -ENOENT ? RESULT_SKIP : RESULT_FAIL,
			   "dma: /testbed.ko: %s", strerror(-err));
		return err != -ENOENT;
	}
	/* The pools are shared now that the driver is bound to its devices */
	model_share("pair");
	model_share("noncoherent");
	if (!strcmp(group, "dma-refused") && !model_refused("noncoherent")) {
		box_result(RESULT_FAIL, "dma %s: the log has nothing of it", group);
		failed++;
	}
	model_region("own");
	for (i = 0; i < sizeof(sequences) / sizeof(sequences[0]); i++) {
		const struct sequence *seq = sequences + i;

		if (strcmp(seq->group, group))
			continue;
		if (!has_devices(seq)) {
			box_result(RESULT_SKIP, "dma %s: not in this device tree",
				   seq->name);
			continue;
		}
		failed += !!run_sequence(seq);
	}
	return failed;
}
