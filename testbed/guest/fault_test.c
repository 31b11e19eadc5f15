// SPDX-License-Identifier: GPL-2.0
/*
 * Faults: every operation is done with its first allocation failing, then with
 * its second, and so on until there is none left to fail; the same with each
 * share refused, each un-share, and each hypercall of either.
 *
 * After each fault the host sees what it should and nothing else.  What was
 * refused to become private stays visible, is leaked, and never comes back; all
 * else is as before, and the same operation passes without the fault.
 *
 * testbed.faults=OPERATION,FAULT,N on the kernel's command line has one fault
 * only: the numbers are in the report of what is wrong.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "../driver/faults.h"
#include "../driver/testbed.h"
#include "model.h"
#include "secrets.h"
#include "tests.h"

#define KB		1024U
#define PAGE		4096ULL
#define ATOMIC		TESTBED_ATOMIC
#define TO		TESTBED_TO_DEVICE
#define FROM		TESTBED_FROM_DEVICE
#define BLOCK		(64 * KB)
#define SECTOR		512U
/* A sequence that is longer than this is none that ends */
#define MOST		2000
/* Of a range of many pages the first ones one by one, then with growing steps */
#define EACH		16
/* What the kernel may keep for itself of the free pages */
#define FREE_PAGES	32

enum action { PREPARE, GET, PUT, GROW, BIND, READ, WRITE };

static const struct operation {
	enum action action;
	const char *device;
	const char *region;	/* what is shared when the device is bound */
	enum testbed_kind kind;
	unsigned int size, flags;
} operations[] = {
	/* These first, as no device is bound then */
	{ PREPARE, "plain-64", NULL, TESTBED_COHERENT, 4 * KB, 0 },
	{ BIND, "pool-pair-64", "pair", TESTBED_COHERENT, 4 * KB, 0 },
	{ BIND, "pool-noncoherent", "noncoherent", TESTBED_COHERENT, 4 * KB, 0 },
	{ BIND, "own-memory", "own", TESTBED_COHERENT, 4 * KB, 0 },
	{ GET, "plain-64", NULL, TESTBED_COHERENT, 12 * KB, 0 },
	{ PUT, "plain-64", NULL, TESTBED_COHERENT, 12 * KB, 0 },
	{ GET, "plain-64", NULL, TESTBED_COHERENT, 4 * KB, ATOMIC },
	{ PUT, "plain-64", NULL, TESTBED_COHERENT, 4 * KB, ATOMIC },
	{ GET, "plain-64", NULL, TESTBED_PAGES, 16 * KB, 0 },
	{ PUT, "plain-64", NULL, TESTBED_PAGES, 16 * KB, 0 },
	{ GET, "plain-64", NULL, TESTBED_NO_MAPPING, 8 * KB, 0 },
	{ PUT, "plain-64", NULL, TESTBED_NO_MAPPING, 8 * KB, 0 },
	{ GET, "plain-64", NULL, TESTBED_NONCONTIGUOUS, 16 * KB, 0 },
	{ PUT, "plain-64", NULL, TESTBED_NONCONTIGUOUS, 16 * KB, 0 },
	{ GET, "plain-64", NULL, TESTBED_SINGLE, 3000, 0 },
	{ PUT, "plain-64", NULL, TESTBED_SINGLE, 3000, 0 },
	{ GET, "plain-64", NULL, TESTBED_SG, 10 * KB, TO },
	{ PUT, "plain-64", NULL, TESTBED_SG, 10 * KB, TO },
	{ GET, "plain-32", NULL, TESTBED_COHERENT, 4 * KB, 0 },
	{ PUT, "plain-32", NULL, TESTBED_COHERENT, 4 * KB, 0 },
	{ GET, "plain-noncoherent", NULL, TESTBED_COHERENT, 12 * KB, 0 },
	{ PUT, "plain-noncoherent", NULL, TESTBED_COHERENT, 12 * KB, 0 },
	{ GET, "plain-noncoherent", NULL, TESTBED_PAGES, 8 * KB, FROM },
	{ PUT, "plain-noncoherent", NULL, TESTBED_PAGES, 8 * KB, FROM },
	{ GET, "pool-pair-64", "pair", TESTBED_COHERENT, 12 * KB, 0 },
	{ PUT, "pool-pair-64", "pair", TESTBED_COHERENT, 12 * KB, 0 },
	{ GET, "pool-pair-64", "pair", TESTBED_NONCONTIGUOUS, 16 * KB, 0 },
	{ PUT, "pool-pair-64", "pair", TESTBED_NONCONTIGUOUS, 16 * KB, 0 },
	{ GET, "pool-pair-64", "pair", TESTBED_SINGLE, 3000, FROM },
	{ PUT, "pool-pair-64", "pair", TESTBED_SINGLE, 3000, FROM },
	{ GET, "pool-pair-64", "pair", TESTBED_SG, 10 * KB, 0 },
	{ PUT, "pool-pair-64", "pair", TESTBED_SG, 10 * KB, 0 },
	{ GET, "pool-noncoherent", "noncoherent", TESTBED_COHERENT, 8 * KB, 0 },
	{ PUT, "pool-noncoherent", "noncoherent", TESTBED_COHERENT, 8 * KB, 0 },
	{ GET, "pool-noncoherent", "noncoherent", TESTBED_PAGES, 8 * KB, 0 },
	{ PUT, "pool-noncoherent", "noncoherent", TESTBED_PAGES, 8 * KB, 0 },
	{ GET, "own-memory", NULL, TESTBED_COHERENT, 4 * KB, 0 },
	{ PUT, "own-memory", NULL, TESTBED_COHERENT, 4 * KB, 0 },
	{ READ, NULL, NULL, 0, BLOCK, 0 },
	{ WRITE, NULL, NULL, 0, BLOCK, 0 },
	/* Last, as it takes the most memory for good */
	{ GROW, "plain-64", NULL, TESTBED_COHERENT, 4 * KB, ATOMIC },
};

static const char *const action_names[] = {
	"prepare", "get", "put", "grow", "bind", "read", "write",
};

static const char *const kind_names[] = {
	"", "coherent", "pages", "no-mapping", "noncontiguous", "single", "sg",
};

enum fault {
	SHARE, UNSHARE,
	PAGE_CALL,		/* the hypercall for one page; those before are undone */
	PAGE_CALLS,		/* and all after it: they cannot be undone */
	ALLOC,
	ALLOC_UNSHARE,		/* what has to be undone for it cannot be */
	FAULTS
};

static const char *const fault_names[] = {
	"share", "un-share", "hypercall", "hypercalls from", "allocation",
	"un-shares, and allocation",
};

/* One fault in one operation */
struct point {
	const struct operation *op;
	enum fault fault;
	unsigned int n;
	struct testbed_seen seen;
	bool hit;
	bool keep_out;		/* shares are refused as well, see run_operation() */
	unsigned int bad;
};

static int control = -1, nth = -1, kmsg = -1, disk = -1, disk_slot;
static struct set leaked;
/* What is leaked and was not visible: a share that was refused */
static uint64_t leaked_unseen;
static unsigned int points, warnings, complaints;
static uint8_t *block;

static void name_point(const struct point *p, char *name, size_t size)
{
	const struct operation *op = p->op;

	snprintf(name, size, "%s%s%s %s %u bytes%s%s, %s %u (testbed.faults=%zu,%u,%u)",
		 action_names[op->action], op->device ? " " : "",
		 op->device ?: "", kind_names[op->kind], op->size,
		 op->flags & TO ? " to device" : op->flags & FROM ? " from device" : "",
		 op->flags & ATOMIC ? " atomic" : "", fault_names[p->fault], p->n,
		 op - operations, p->fault, p->n);
}

static void __attribute__((format(printf, 2, 3)))
complain(struct point *p, const char *fmt, ...)
{
	char name[256], text[256];
	va_list ap;

	p->bad++;
	if (complaints++ >= 20)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	name_point(p, name, sizeof(name));
	box_log("%s: %s", name, text);
}

/* A line in the kernel's log; testbed/judge knows those about warnings */
static void __attribute__((format(printf, 1, 2))) log_line(const char *fmt, ...)
{
	char text[320];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (write(kmsg, text, strlen(text)) < 0)
		box_log("faults: /dev/kmsg: %s", strerror(errno));
}

static bool in_worker(const struct point *p)
{
	return p->op->action == GROW;
}

/* Only where memory that was leaked before an allocation failed has a warning of its own */
static bool may_warn(const struct point *p)
{
	return in_worker(p) && p->fault == ALLOC_UNSHARE;
}

/* As of 7.3 atomic_pool_expand() leaks in silence */
static bool pool_warns(void)
{
	unsigned int major = 0, minor = 0;
	struct utsname uts;

	uname(&uts);
	sscanf(uts.release, "%u.%u", &major, &minor);
	return major < 7 || (major == 7 && minor < 3);
}

static void begin_fault(struct point *p)
{
	struct testbed_faults f = { 0 };
	bool alloc = p->fault == ALLOC || p->fault == ALLOC_UNSHARE;
	char name[256], text[16];

	name_point(p, name, sizeof(name));
	log_line("testbed: fault: %s", name);
	if (may_warn(p)) {
		write_to("/sys/kernel/debug/clear_warn_once", "1");
		write_to("/proc/sys/kernel/panic_on_warn", "0");
		log_line("testbed: warnings may be due");
	}
	if (p->fault == SHARE)
		f.share = p->n;
	if (p->keep_out)
		f.share = f.all_after = 1;
	if (p->op->action == PREPARE)
		f.all_after = 1;
	if (p->fault == UNSHARE)
		f.unshare = p->n;
	if (p->fault == ALLOC_UNSHARE)
		f.unshare = f.all_after = 1;
	if (p->fault == PAGE_CALL || p->fault == PAGE_CALLS)
		f.page = p->n;
	if (p->fault == PAGE_CALLS)
		f.all_after = 1;
	if (alloc && in_worker(p))
		f.worker_alloc = p->n;
	if (ioctl(control, TESTBED_IOC_FAULTS, &f))
		complain(p, "not begun: %s", strerror(errno));
	/* The last thing, as whatever comes counts */
	snprintf(text, sizeof(text), "%u", p->n);
	if (alloc && !in_worker(p) && pwrite(nth, text, strlen(text), 0) < 0)
		complain(p, "fail-nth: %s", strerror(errno));
}

static void end_fault(struct point *p)
{
	bool alloc = p->fault == ALLOC || p->fault == ALLOC_UNSHARE;
	char text[16] = "";

	if (alloc && !in_worker(p)) {
		/* Reading it allocates nothing */
		p->hit = pread(nth, text, sizeof(text) - 1, 0) > 0 && !atoi(text);
		if (pwrite(nth, "0", 1, 0) < 0)
			complain(p, "fail-nth: %s", strerror(errno));
	}
	if (ioctl(control, TESTBED_IOC_SEEN, &p->seen))
		complain(p, "not ended: %s", strerror(errno));
	if (!alloc)
		p->hit = p->seen.nr;
	else if (in_worker(p))
		p->hit = p->seen.worker_alloc;
	if (may_warn(p)) {
		log_line("testbed: warnings due: %d atomic_pool_expand",
			 p->seen.nr && pool_warns() ? 1 : 0);
		write_to("/proc/sys/kernel/panic_on_warn", "1");
		warnings += !!p->seen.nr;
	}
	points += p->hit;
	log_line("testbed: fault over");
}

/* How much of a range must be visible when part of it has been refused */
static uint64_t expect_visible(const struct point *p, const struct testbed_refusal *r)
{
	/* What is private stays so; what was shared is not, if that can be undone */
	if (r->unshare)
		return r->pages - r->done;
	return p->fault == PAGE_CALLS ? r->done : 0;
}

/*
 * What was refused is lost, and stays as it is: @region if that is not memory
 * that somebody could have got.
 */
static void account_refused(struct point *p, bool region)
{
	static struct box_range ranges[64];
	uint64_t visible;
	unsigned int i;
	int n, j;

	if (p->seen.nr > TESTBED_REFUSALS)
		complain(p, "%u refusals", p->seen.nr);
	for (i = 0; i < p->seen.nr && i < TESTBED_REFUSALS; i++) {
		const struct testbed_refusal *r = p->seen.refused + i;

		n = box_audit(r->addr, r->pages * PAGE, &visible, ranges, 64);
		if (n < 0 || visible != expect_visible(p, r))
			complain(p, "%s of %u pages at %#llx refused after %u: %" PRIu64 " visible, not %" PRIu64,
				 r->unshare ? "un-share" : "share", r->pages,
				 r->addr, r->done, n < 0 ? 0 : visible, expect_visible(p, r));
		for (j = 0; j < n; j++) {
			model_keep(ranges[j].addr, ranges[j].pages * PAGE);
			set_add(&leaked, ranges[j].addr, ranges[j].pages * PAGE);
		}
		if (!region && n >= 0)
			leaked_unseen += r->pages - visible;
	}
}

/* A leaked page is nobody's: neither free nor in use */
static void check_leaked(struct point *p)
{
	/* KPF_LRU, KPF_SLAB, KPF_BUDDY, KPF_MMAP, KPF_ANON, KPF_PGTABLE */
	const uint64_t used = 1 << 5 | 1 << 7 | 1 << 10 | 1 << 11 | 1 << 12 | 1 << 26;
	int fd = open("/proc/kpageflags", O_RDONLY | O_CLOEXEC);
	uint64_t flags[512], done, n, i;
	unsigned int r;

	for (r = 0; r < leaked.n; r++)
		for (done = 0; done < leaked.range[r].pages; done += n) {
			n = leaked.range[r].pages - done;
			if (n > 512)
				n = 512;
			if (pread(fd, flags, n * 8, (leaked.range[r].addr / PAGE + done) * 8) !=
			    (ssize_t)(n * 8)) {
				complain(p, "/proc/kpageflags: %s", strerror(errno));
				break;
			}
			for (i = 0; i < n; i++)
				if (flags[i] & used)
					complain(p, "leaked page %#llx is in use: flags %#" PRIx64,
						 leaked.range[r].addr + (done + i) * PAGE, flags[i]);
		}
	if (fd >= 0)
		close(fd);
}

/*
 * Without a hypercall the host sees what it saw before; in the end it is asked
 * in any case.
 */
static void compare(struct point *p, const char *when)
{
	char name[320];

	if (p->hit && !p->seen.page_calls && !p->seen.nr)
		return;
	name_point(p, name, 256);
	snprintf(name + strlen(name), 64, ", %s", when);
	if (model_compare(name))
		p->bad++;
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

/* What has come is the device's own */
static void check_got(struct point *p, const struct testbed_op *op)
{
	uint64_t addr = 0, bytes = 0;
	struct set own = { 0 }, rest;
	unsigned int i;

	for (i = 0; i < op->parts; i++)
		set_add(&own, op->dma[i], op->len[i]);
	set_minus(&own, &leaked, &rest);
	if (set_pages(&rest) != set_pages(&own))
		complain(p, "memory that was leaked is handed out: %#llx", op->dma[0]);
	if (!p->op->region || model_find(p->op->region, &addr, &bytes))
		return;
	for (i = 0; i < op->parts; i++)
		if (op->dma[i] < addr || op->dma[i] + op->len[i] > addr + bytes)
			complain(p, "%#llx is not the pool's", op->dma[i]);
}

static void put_and_drop(struct point *p, int dev, struct testbed_op *op)
{
	int err = op_ioctl(dev, TESTBED_IOC_PUT, op);

	if (err)
		complain(p, "not put: %s", strerror(-err));
	hold(op, false);
}

static struct testbed_op new_op(const struct operation *o)
{
	return (struct testbed_op){ .kind = o->kind, .size = o->size, .flags = o->flags };
}

/* Without a fault it works */
static bool get_well(struct point *p, int dev, struct testbed_op *op)
{
	int err;

	*op = new_op(p->op);
	err = op_ioctl(dev, TESTBED_IOC_GET, op);
	if (err) {
		complain(p, "without the fault: %s", strerror(-err));
		return false;
	}
	check_got(p, op);
	hold(op, true);
	return true;
}

static void fault_get(struct point *p)
{
	struct testbed_op op = new_op(p->op);
	int dev = device_open(p->op->device), err;

	begin_fault(p);
	err = op_ioctl(dev, TESTBED_IOC_GET, &op);
	end_fault(p);
	account_refused(p, false);
	if (err && (!p->hit || (err != -ENOMEM && err != -EIO)))
		complain(p, "%s", strerror(-err));
	if (!err) {
		check_got(p, &op);
		hold(&op, true);
	}
	compare(p, "after the fault");
	if (!err)
		put_and_drop(p, dev, &op);
	if (!p->hit)
		return;
	if (get_well(p, dev, &op)) {
		compare(p, "without it");
		if (device_pass_data(dev, &op))
			complain(p, "without the fault, data does not pass");
		put_and_drop(p, dev, &op);
	}
}

static void fault_put(struct point *p)
{
	int dev = device_open(p->op->device), err;
	struct testbed_op op;

	if (!get_well(p, dev, &op))
		return;
	begin_fault(p);
	err = op_ioctl(dev, TESTBED_IOC_PUT, &op);
	end_fault(p);
	/* The driver itself has no memory for it: nothing has been done */
	if (err == -ENOMEM && p->hit && !p->seen.unshares)
		err = op_ioctl(dev, TESTBED_IOC_PUT, &op);
	if (err)
		complain(p, "%s", strerror(-err));
	hold(&op, false);
	account_refused(p, false);
	compare(p, "after the fault");
	if (p->hit && get_well(p, dev, &op))
		put_and_drop(p, dev, &op);
}

static int bind_device(const char *device, bool yes)
{
	char path[64];
	int fd, err = 0;

	snprintf(path, sizeof(path), "/sys/bus/platform/drivers/testbed/%s",
		 yes ? "bind" : "unbind");
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (write(fd, device, strlen(device)) < 0)
		err = -errno;
	close(fd);
	return err;
}

static bool is_bound(const char *device)
{
	char path[96];

	snprintf(path, sizeof(path), "/sys/bus/platform/drivers/testbed/%s", device);
	return !access(path, F_OK);
}

/*
 * The first device without a pool of its own has the pools for atomic
 * allocations ready, and once only; all of it is refused.
 */
static void fault_prepare(struct point *p)
{
	struct testbed_op op = new_op(p->op), atomic = new_op(p->op);
	int dev, err;

	begin_fault(p);
	err = bind_device(p->op->device, true);
	end_fault(p);
	account_refused(p, false);
	if (err || !p->hit)
		complain(p, "%s", err ? strerror(-err) : "nothing was refused");
	compare(p, "after the fault");
	dev = device_open(p->op->device);
	if (dev < 0 || !get_well(p, dev, &op))
		return;
	/* The pool's, and visible with it */
	atomic.slot = 1;
	atomic.flags = ATOMIC;
	err = op_ioctl(dev, TESTBED_IOC_GET, &atomic);
	if (err)
		complain(p, "without the fault, atomic: %s", strerror(-err));
	compare(p, "without it");
	if (!err)
		op_ioctl(dev, TESTBED_IOC_PUT, &atomic);
	put_and_drop(p, dev, &op);
}

/* Of the pool that is tried first: newer kernels make none for GFP_KERNEL where all memory is for DMA */
static uint64_t pool_bytes(void)
{
	static const char *const pools[] = { "kernel", "dma32", "dma" };
	char path[64], buf[32];
	uint64_t bytes = 0;
	unsigned int i;

	for (i = 0; i < sizeof(pools) / sizeof(pools[0]) && !bytes; i++) {
		snprintf(path, sizeof(path), "/sys/kernel/debug/dma_pools/pool_size_%s", pools[i]);
		if (read_file(path, buf, sizeof(buf)) > 0)
			bytes = strtoull(buf, NULL, 0);
	}
	return bytes;
}

/* A pool that has less than this left grows */
static uint64_t pool_minimum(void)
{
	char buf[4096], *at = NULL;

	if (read_file("/proc/cmdline", buf, sizeof(buf)) > 0)
		at = strstr(buf, "coherent_pool=");
	return (at ? strtoul(at + strlen("coherent_pool="), NULL, 10) : 128) * KB;
}

/*
 * The pool for atomic allocations is left with as little as has it grow at the
 * next one, and the work that does it meets the fault.
 */
static void fault_grow(struct point *p)
{
	static unsigned int nr_held;
	static uint64_t taken;
	uint64_t least = pool_minimum();
	int dev = device_open(p->op->device), err;
	uint64_t bytes = pool_bytes();
	struct testbed_op op;

	while (bytes >= taken + p->op->size + least && nr_held < TESTBED_SLOTS - 1) {
		op = new_op(p->op);
		op.slot = nr_held + 1;
		/* The largest that leaves enough */
		while (bytes >= taken + p->op->size + least + op.size)
			op.size *= 2;
		err = op_ioctl(dev, TESTBED_IOC_GET, &op);
		if (err) {
			complain(p, "the pool has not %llu bytes: %s", op.size, strerror(-err));
			return;
		}
		taken += op.size;
		nr_held++;
		if (bytes != pool_bytes()) {
			complain(p, "the pool grows too early");
			return;
		}
	}
	op = new_op(p->op);
	begin_fault(p);
	err = op_ioctl(dev, TESTBED_IOC_GET, &op);
	op_ioctl(dev, TESTBED_IOC_SETTLE, NULL);
	end_fault(p);
	account_refused(p, false);
	/* There is enough for this one */
	if (err)
		complain(p, "%s", strerror(-err));
	compare(p, "after the fault");
	if (!err)
		op_ioctl(dev, TESTBED_IOC_PUT, &op);
	if (!p->hit && !p->keep_out && pool_bytes() == bytes)
		complain(p, "the pool has not grown without a fault");
}

static void fault_bind(struct point *p)
{
	uint64_t addr = 0, bytes = 0;
	int fd, err;

	if (is_bound(p->op->device))
		bind_device(p->op->device, false);
	/* bind_device() itself must not be what fails, so it is done by hand */
	fd = open("/sys/bus/platform/drivers/testbed/bind", O_WRONLY | O_CLOEXEC);
	begin_fault(p);
	err = write(fd, p->op->device, strlen(p->op->device)) < 0 ? -errno : 0;
	end_fault(p);
	close(fd);
	account_refused(p, true);
	if (err && !p->hit && !p->keep_out)
		complain(p, "bind: %s", strerror(-err));
	model_find(p->op->region, &addr, &bytes);
	if (p->seen.shares > p->seen.unshares && !p->seen.nr)
		model_keep(addr, bytes);
	compare(p, "after the fault");
}

static uint64_t disk_seed(const struct point *p)
{
	return (p->op - operations) * 10007 + p->fault * 1009 + p->n;
}

static int host_disk(int command, uint64_t seed)
{
	uint64_t args[4] = { disk_slot, 128, BLOCK / SECTOR, seed }, good = BLOCK;
	int n = box_command(command, args, 4, NULL, &good, command == MAILBOX_DISK_CHECK);

	return n < 0 ? n : good == BLOCK ? 0 : -EILSEQ;
}

static int transfer(bool write_it, uint64_t seed)
{
	ssize_t n;

	if (write_it) {
		pattern_fill(block, BLOCK, seed);
		n = pwrite(disk, block, BLOCK, 128 * SECTOR);
	} else {
		memset(block, 0x55, BLOCK);
		n = pread(disk, block, BLOCK, 128 * SECTOR);
	}
	return n < 0 ? -errno : n == (ssize_t)BLOCK ? 0 : -EIO;
}

static int compare_block(bool write_it, uint64_t seed)
{
	if (write_it)
		return host_disk(MAILBOX_DISK_CHECK, seed);
	return pattern_check(block, BLOCK, seed) == BLOCK ? 0 : -EILSEQ;
}

static void fault_block(struct point *p)
{
	bool write_it = p->op->action == WRITE;
	uint64_t seed = disk_seed(p);
	int err;

	if (!write_it && host_disk(MAILBOX_DISK_FILL, seed))
		complain(p, "the host does not fill the disk");
	begin_fault(p);
	err = transfer(write_it, seed);
	end_fault(p);
	if (!err)
		err = compare_block(write_it, seed);
	/* A part that was done is -EIO here */
	if (err && (!p->hit || (err != -ENOMEM && err != -EIO)))
		complain(p, "%s", strerror(-err));
	compare(p, "after the fault");
	if (!p->hit)
		return;
	err = transfer(write_it, seed);
	if (!err)
		err = compare_block(write_it, seed);
	if (err)
		complain(p, "without the fault: %s", strerror(-err));
}

/*
 * Where the operation without a fault would leave nothing to be refused in the
 * next, it is known how many calls there are.
 */
static unsigned int last_point(const struct operation *op, enum fault fault)
{
	uint64_t addr, bytes = 0;

	if (op->action == BIND && (fault == UNSHARE || fault == PAGE_CALLS))
		return 0;
	if (op->action == GROW && (fault == UNSHARE || fault == PAGE_CALLS))
		return 0;
	if (op->action == PREPARE || op->action == BIND || op->action == GROW) {
		if (fault == SHARE)
			return 1;
		if (op->action == PREPARE)
			return 0;
	}
	if (op->action == BIND && fault == PAGE_CALL)
		return model_find(op->region, &addr, &bytes) ? 0 : bytes / PAGE;
	if (op->action == GROW && fault == PAGE_CALL)
		return pool_bytes() / PAGE;
	if ((op->action == READ || op->action == WRITE) && fault != ALLOC)
		return 0;
	return MOST;
}

static unsigned int next_point(unsigned int n, unsigned int last, enum fault fault)
{
	if (n < EACH || n >= last || fault != PAGE_CALL || last == MOST)
		return n + 1;
	n += n / 4;
	return n < last ? n : last;
}

static void run_point(struct point *p)
{
	long used = p->op->region ? pool_used(p->op->region) : 0;

	switch (p->op->action) {
	case PREPARE:
		fault_prepare(p);
		break;
	case GET:
		fault_get(p);
		break;
	case PUT:
		fault_put(p);
		break;
	case GROW:
		fault_grow(p);
		break;
	case BIND:
		fault_bind(p);
		break;
	case READ:
	case WRITE:
		fault_block(p);
		break;
	}
	if (p->op->region && p->op->action != BIND && pool_used(p->op->region) != used)
		complain(p, "%ld slots in use, %ld before", pool_used(p->op->region), used);
	check_leaked(p);
}

static unsigned int count_mappings(void)
{
	char line[512];
	unsigned int n = 0;
	FILE *f = fopen("/proc/vmallocinfo", "re");

	while (f && fgets(line, sizeof(line), f))
		n += !!strstr(line, "dma-coherent");
	if (f)
		fclose(f);
	return n;
}

/* Is anything that is free visible?  Return: how many pages are free, to the last one. */
static long look_at_free(struct point *p)
{
	struct box_range first = { 0 };
	uint64_t canary = secrets_canary(), pages = 0;
	long n, bytes;

	shrink_caches();
	n = secrets_fill(canary);
	if (n <= 0) {
		complain(p, "free memory: %s", strerror(-n));
		return 0;
	}
	bytes = box_search(canary, 0, 0, &pages, &first);
	if (bytes)
		complain(p, "%" PRIu64 " free pages are visible, the first at %#" PRIx64,
			 pages, first.addr);
	return n;
}

static void ready_to_use(const struct operation *op, struct point *p)
{
	uint64_t addr = 0, bytes = 0;
	struct testbed_op got;
	int err;

	if (op->action == BIND) {
		if (is_bound(op->device))
			bind_device(op->device, false);
		err = bind_device(op->device, true);
		if (err || model_find(op->region, &addr, &bytes))
			complain(p, "bind without a fault: %s", strerror(-err));
		model_keep(addr, bytes);
		/* A device that is bound may still have been kept from its memory */
		err = device_open(op->device);
		if (err < 0)
			complain(p, "%s", strerror(-err));
		else if (get_well(p, err, &got))
			put_and_drop(p, err, &got);
	} else if (op->action == GROW) {
		/* An allocation that may sleep has the pools ready */
		got = (struct testbed_op){ .kind = TESTBED_COHERENT, .size = 4 * KB };
		err = device_open(op->device);
		if (err >= 0 && !op_ioctl(err, TESTBED_IOC_GET, &got))
			op_ioctl(err, TESTBED_IOC_PUT, &got);
	}
}

/* @again: it has been run before, and pages were gone then that should not be */
static int run_operation(const struct operation *op, int only_fault, unsigned int only_n,
			 bool again)
{
	struct point p = { .op = op, .n = 0 }, all = p;
	unsigned int before_points = points, bad = 0, maps, n, last;
	uint64_t budget, grown;
	long before = 0, after = 0;
	static bool undone[MOST + 2];
	unsigned int last_undone = 0;
	bool free_too = op->action != BIND && op->action != PREPARE;
	char text[512] = "";

	bool keep_out = op->action == GROW || op->action == BIND;

	if (op->action == GROW)
		ready_to_use(op, &all);
	if (free_too)
		before = look_at_free(&all);
	memset(undone, 0, sizeof(undone));
	maps = count_mappings();
	budget = set_pages(&leaked) + leaked_unseen;
	grown = model_atomic_pages();
	for (p.fault = 0; p.fault < FAULTS; p.fault++) {
		unsigned int hits = 0;

		last = last_point(op, p.fault);
		/* Only where something was un-shared, or next to it, for what else allocates differs a little */
		if (p.fault == ALLOC_UNSHARE && !only_n)
			last = last_undone;
		if (only_fault >= 0 && only_fault != (int)p.fault)
			continue;
		for (n = only_n ?: 1; n <= last; n = next_point(n, last, p.fault)) {
			/* The kernel gives its pools up if eight shares are refused in a row */
			if (op->action == GROW && p.fault == ALLOC &&
			    (n == (only_n ?: 1) || (keep_out && n % 6 == 1))) {
				struct point grow = { .op = op, .fault = ALLOC, .n = MOST };

				run_point(&grow);
				bad += !!grow.bad;
			}
			p = (struct point){ .op = op, .fault = p.fault, .n = n,
					    .keep_out = keep_out && p.fault == ALLOC };
			if (p.fault == ALLOC_UNSHARE && !only_n && !undone[n])
				continue;
			run_point(&p);
			if (p.fault == ALLOC && p.seen.unshares) {
				undone[n - 1] = undone[n] = undone[n + 1] = true;
				last_undone = n + 1;
			}
			bad += !!p.bad;
			hits += p.hit;
			/*
			 * Where the kernel does without an allocation, a pool grows to twice its size, and
			 * a device comes to its memory for good. So those that are before the share fail
			 * while that is refused, and those after it while it is not.
			 */
			if (p.keep_out && (!p.hit || p.seen.alloc_left)) {
				keep_out = false;
				n--;
				continue;
			}
			if ((!p.hit && p.fault != ALLOC_UNSHARE) || only_n)
				break;
		}
		if (n == MOST)
			complain(&p, "there is no end to it");
		if (hits)
			snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%u %s",
				 *text ? ", " : "", hits, fault_names[p.fault]);
	}
	if (op->action == BIND)
		ready_to_use(op, &all);
	all.fault = FAULTS - 1;
	compare(&all, "at its end");
	/* Where the pools for atomic allocations may have grown, so has this number */
	if (count_mappings() != maps && free_too && !(op->flags & ATOMIC))
		complain(&all, "%u mappings of coherent memory, %u before", count_mappings(), maps);
	budget = set_pages(&leaked) + leaked_unseen - budget +
		 model_atomic_pages() - grown;
	/* The pools have mappings, and those have a shadow */
	if (op->action == GROW)
		budget += budget / 4;
	/* Some of it is freed a moment later */
	for (n = 0; free_too && n < 5; n++) {
		after = look_at_free(&all);
		if (after + (long)budget + FREE_PAGES >= before)
			break;
		sleep(1);
	}
	/* The kernel's own caches grow once, and what is leaked is leaked each time */
	if (after + (long)budget + FREE_PAGES < before && !bad && !all.bad && !again) {
		box_log("faults %s: %ld pages free, %ld before, of which %" PRIu64 " had to go: once more",
			action_names[op->action], after, before, budget);
		return run_operation(op, only_fault, only_n, true);
	}
	if (after + (long)budget + FREE_PAGES < before)
		complain(&all, "%ld pages free, %ld before, of which %" PRIu64 " had to go",
			 after, before, budget);
	bad += !!all.bad;
	box_result(bad ? RESULT_FAIL : RESULT_OK,
		   "faults %s%s%s %s%s: %u, of which %u wrong; %" PRIu64 " pages lost: %s",
		   action_names[op->action], op->device ? " " : "", op->device ?: "",
		   kind_names[op->kind], op->flags & ATOMIC ? " atomic" : "",
		   points - before_points, bad, budget, *text ? text : "nothing to refuse");
	return !!bad;
}

/* Allocations that may sleep and those of any size, without a word in the log */
static int arm_allocations(void)
{
	static const char *const settings[][2] = {
		{ "failslab/ignore-gfp-wait", "N" }, { "failslab/verbose", "0" },
		{ "fail_page_alloc/ignore-gfp-wait", "N" },
		{ "fail_page_alloc/ignore-gfp-highmem", "N" },
		{ "fail_page_alloc/min-order", "0" }, { "fail_page_alloc/verbose", "0" },
	};
	char path[96];
	size_t i;

	for (i = 0; i < sizeof(settings) / sizeof(settings[0]); i++) {
		snprintf(path, sizeof(path), "/sys/kernel/debug/%s", settings[i][0]);
		if (access(path, W_OK))
			return -errno;
		write_to(path, settings[i][1]);
	}
	nth = open("/proc/thread-self/fail-nth", O_RDWR | O_CLOEXEC);
	return nth < 0 ? -errno : 0;
}

static int prepare(void)
{
	char path[32];
	int err;

	/* No device comes to its pool before its operations do */
	write_to("/sys/bus/platform/drivers_autoprobe", "0");
	err = load_module("/testbed.ko");
	if (!err)
		err = load_module("/faults.ko");
	if (!err)
		err = arm_allocations();
	if (err)
		return err;
	/* The judge goes by what is said there, and needs all of it */
	write_to("/proc/sys/kernel/printk_devkmsg", "on\n");
	control = open("/dev/testbed-faults", O_RDWR | O_CLOEXEC);
	kmsg = open("/dev/kmsg", O_WRONLY | O_CLOEXEC);
	disk_slot = find_disk("data", path, sizeof(path));
	if (disk_slot >= 0)
		disk = open(path, O_RDWR | O_DIRECT | O_CLOEXEC);
	block = aligned_alloc(4096, BLOCK);
	if (control < 0 || kmsg < 0 || disk < 0 || !block)
		return -EIO;
	return 0;
}

static void bind_others(void)
{
	static const char *const others[] = { "plain-64", "plain-32", "plain-noncoherent" };
	size_t i;

	for (i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		if (!is_bound(others[i]) && bind_device(others[i], true))
			box_log("faults: %s is not bound", others[i]);
}

/* test_faults - each operation with each fault that it can meet */
int test_faults(const char *group)
{
	int only_op = -1, only_fault = -1, failed = 0, err;
	unsigned int only_n = 0;
	char buf[4096], *at;
	size_t i;

	(void)group;
	err = prepare();
	if (err) {
		box_result(RESULT_FAIL, "faults: cannot begin: %s; the kernel must have testbed/config/faults.config",
			   strerror(-err));
		return 1;
	}
	if (read_file("/proc/cmdline", buf, sizeof(buf)) > 0 &&
	    (at = strstr(buf, "testbed.faults=")))
		sscanf(at, "testbed.faults=%d,%d,%u", &only_op, &only_fault, &only_n);
	for (i = 0; i < sizeof(operations) / sizeof(operations[0]); i++) {
		struct point p = { .op = operations + i };

		if (i == 1)
			bind_others();
		if (only_op < 0 || only_op == (int)i)
			failed += run_operation(operations + i, only_fault, only_n, false);
		else if (p.op->action == BIND)
			run_operation(operations + i, FAULTS, 0, false);
	}
	if (only_op < 0 && !warnings)
		box_log("faults: no warning was due: the fault that has one is not met");
	box_result(failed || !points || (only_op < 0 && !warnings) ? RESULT_FAIL : RESULT_OK,
		   "faults: %u in all, %u warnings due, %" PRIu64 " pages visible for good",
		   points, warnings, set_pages(&leaked));
	return failed;
}
