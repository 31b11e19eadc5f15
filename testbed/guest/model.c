// SPDX-License-Identifier: GPL-2.0
/*
 * What the host should see, and whether it does: exactly, page by page.
 *
 * Visible are
 * - every restricted pool that a device is attached to, whole;
 * - the pools for atomic allocations: all of them or none, as large as debugfs
 *   says, found where they are by the first audit.  They may grow, by as much
 *   as debugfs says they did;
 * - the disks' queues, which are in the pool if there is one;
 * - the default swiotlb, where the kernel's log says it is: whole or not at all;
 * - what the test holds.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "../driver/testbed.h"
#include "model.h"
#include "tests.h"

#define PAGE	4096ULL

/* What is always visible, of each kind, and what the test holds */
static struct set pools, atomic, bounce, held;
/* What was wrong at the last audit, and has been reported */
static struct set known_more, known_less;
static bool bounce_known;
static uint64_t bounce_addr, bounce_bytes;

void set_remove(struct set *set, uint64_t addr, uint64_t bytes)
{
	uint64_t end = addr + bytes;
	struct set out = { 0 };
	unsigned int i;

	for (i = 0; i < set->n; i++) {
		uint64_t s = set->range[i].addr;
		uint64_t e = s + set->range[i].pages * PAGE;

		if (s < addr)
			out.range[out.n++] = (struct box_range){
				s, ((e < addr ? e : addr) - s) / PAGE };
		if (e > end)
			out.range[out.n++] = (struct box_range){
				s > end ? s : end, (e - (s > end ? s : end)) / PAGE };
		if (out.n >= SET_MAX - 1)
			break;
	}
	*set = out;
}

void set_add(struct set *set, uint64_t addr, uint64_t bytes)
{
	uint64_t end = (addr + bytes + PAGE - 1) & ~(PAGE - 1);
	struct set out = { 0 };
	bool done = false;
	unsigned int i;

	addr &= ~(PAGE - 1);
	if (addr == end || set->n >= SET_MAX - 1)
		return;
	for (i = 0; i < set->n; i++) {
		uint64_t s = set->range[i].addr;
		uint64_t e = s + set->range[i].pages * PAGE;

		if (e < addr) {
			out.range[out.n++] = set->range[i];
		} else if (s > end) {
			if (!done)
				out.range[out.n++] = (struct box_range){
					addr, (end - addr) / PAGE };
			done = true;
			out.range[out.n++] = set->range[i];
		} else {
			addr = s < addr ? s : addr;
			end = e > end ? e : end;
		}
	}
	if (!done)
		out.range[out.n++] = (struct box_range){ addr, (end - addr) / PAGE };
	*set = out;
}

static void set_join(struct set *a, const struct set *b)
{
	unsigned int i;

	for (i = 0; i < b->n; i++)
		set_add(a, b->range[i].addr, b->range[i].pages * PAGE);
}

void set_minus(const struct set *a, const struct set *b, struct set *diff)
{
	unsigned int i;

	*diff = *a;
	for (i = 0; i < b->n; i++)
		set_remove(diff, b->range[i].addr, b->range[i].pages * PAGE);
}

bool set_holds(const struct set *set, uint64_t addr, uint64_t bytes)
{
	struct set rest = { 0 }, diff;

	set_add(&rest, addr, bytes);
	set_minus(&rest, set, &diff);
	return !diff.n;
}

uint64_t set_pages(const struct set *set)
{
	uint64_t pages = 0;
	unsigned int i;

	for (i = 0; i < set->n; i++)
		pages += set->range[i].pages;
	return pages;
}

/**
 * model_find - where is a reserved region?
 * @name: of the device tree's node, without the address
 * @addr, @bytes: for where it is
 *
 * Return: 0, or -ENOENT if the device tree has no such region.
 */
int model_find(const char *name, uint64_t *addr, uint64_t *bytes)
{
	DIR *dir = opendir("/proc/device-tree/reserved-memory");
	int err = -ENOENT, fd;
	struct dirent *e;
	char path[512];
	uint8_t reg[16];
	size_t len = strlen(name), i;

	while (dir && (e = readdir(dir))) {
		if (strncmp(e->d_name, name, len) || e->d_name[len] != '@')
			continue;
		snprintf(path, sizeof(path),
			 "/proc/device-tree/reserved-memory/%s/reg", e->d_name);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		err = -EIO;
		if (fd >= 0 && read(fd, reg, sizeof(reg)) == sizeof(reg)) {
			*addr = *bytes = 0;
			for (i = 0; i < 8; i++) {
				*addr = *addr << 8 | reg[i];
				*bytes = *bytes << 8 | reg[i + 8];
			}
			err = 0;
		}
		if (fd >= 0)
			close(fd);
	}
	if (dir)
		closedir(dir);
	return err;
}

/**
 * model_refused - has the kernel complained of this restricted pool?
 *
 * As of Linux 7.3 it names the device, and that is pool-NAME where it happens.
 */
bool model_refused(const char *name)
{
	char text[80], line[256];

	snprintf(text, sizeof(text), "Restricted DMA pool %s@", name);
	if (!find_log(text, line, sizeof(line)))
		return true;
	snprintf(text, sizeof(text), "pool-%s: Failed to decrypt restricted DMA pool", name);
	return !find_log(text, line, sizeof(line));
}

/*
 * model_share - from now on this region is visible, if the device tree has it and
 * the kernel has not complained of it
 */
void model_share(const char *name)
{
	uint64_t addr, bytes;

	if (!model_refused(name) && !model_find(name, &addr, &bytes))
		set_add(&pools, addr, bytes);
}

/* Reads a number of a pool's from debugfs.  Return: it, or a negative errno. */
static long pool_number(const char *name, const char *file)
{
	static const char *const folders[] = {
		"/sys/kernel/debug/swiotlb", "/sys/kernel/debug",
	};
	size_t len = strlen(name), i;
	char path[512], buf[32];
	struct dirent *e;
	int n = -ENOENT;

	if (!len) {
		snprintf(path, sizeof(path), "%s/%s", folders[0], file);
		n = read_file(path, buf, sizeof(buf));
		return n < 0 ? n : strtol(buf, NULL, 0);
	}
	/*
	 * A pool whose first device comes before the default pool's folder (a
	 * late_initcall) has its own folder at debugfs' root.
	 */
	for (i = 0; i < 2 && n < 0; i++) {
		DIR *dir = opendir(folders[i]);

		while (dir && (e = readdir(dir))) {
			if (strncmp(e->d_name, name, len) || e->d_name[len] != '@')
				continue;
			snprintf(path, sizeof(path), "%s/%s/%s", folders[i],
				 e->d_name, file);
			n = read_file(path, buf, sizeof(buf));
		}
		if (dir)
			closedir(dir);
	}
	return n < 0 ? n : strtol(buf, NULL, 0);
}

/**
 * pool_used - slots of a pool in use
 * @name: of the device tree's node, without the address; "" for the default one
 *
 * Return: slots (of 2 kB), or a negative errno.
 */
long pool_used(const char *name)
{
	return pool_number(name, "io_tlb_used");
}

/* pool_slots - how many there are; see pool_used() */
long pool_slots(const char *name)
{
	return pool_number(name, "io_tlb_nslabs");
}

/**
 * model_disks_pool - name of the pool that the disks' DMA goes through
 *
 * A kernel that a panic has started is kept to the memory that was reserved for
 * it, so it cannot use the pool that the device tree has.
 *
 * Return: for pool_used(); "" for the default one.
 */
const char *model_disks_pool(void)
{
	uint64_t addr, bytes;
	char line[256];

	if (model_find("disks", &addr, &bytes) ||
	    !find_log(".virtio: Restricted DMA pool must be accessible", line,
		      sizeof(line)))
		return "";
	return "disks";
}

/* Bytes of all pools for atomic allocations */
static uint64_t atomic_bytes(void)
{
	static const char *const names[] = { "dma", "dma32", "kernel" };
	char path[64], buf[32];
	uint64_t bytes = 0;
	size_t i;

	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(path, sizeof(path),
			 "/sys/kernel/debug/dma_pools/pool_size_%s", names[i]);
		if (read_file(path, buf, sizeof(buf)) > 0)
			bytes += strtoull(buf, NULL, 0);
	}
	return bytes;
}

/* The last address that the kernel names is the end, not the last byte */
static void find_bounce(void)
{
	uint64_t from, to;
	char line[256];

	if (find_log("software IO TLB: mapped [mem ", line, sizeof(line)) ||
	    sscanf(line, "software IO TLB: mapped [mem %" SCNi64 "-%" SCNi64 "]",
		   &from, &to) != 2)
		return;
	bounce_addr = from & ~(PAGE - 1);
	bounce_bytes = ((to + PAGE - 1) & ~(PAGE - 1)) - bounce_addr;
	box_owner(bounce_addr, bounce_bytes,
		  "default swiotlb, of devices without a pool");
}

/* model_bounce - where the default swiotlb is; nowhere if there is none */
void model_bounce(uint64_t *addr, uint64_t *bytes)
{
	*addr = bounce_addr;
	*bytes = bounce_bytes;
}

/**
 * model_region - a region that is shared when a device takes it, or bit by bit
 * @name: of the device tree's node, without the address
 *
 * Both are right; the host says which it is.  It is then visible whole, or only
 * what the test holds of it is.
 */
void model_region(const char *name)
{
	uint64_t addr, bytes, visible = 0;
	struct box_range range;

	if (!model_find(name, &addr, &bytes) &&
	    box_audit(addr, bytes, &visible, &range, 1) == 1 &&
	    visible == bytes / PAGE)
		set_add(&pools, addr, bytes);
}

static void find_queues(void)
{
	uint64_t disk, parts[6];
	size_t i;

	for (disk = 0; disk < 4; disk++)
		if (box_command(MAILBOX_DISK_QUEUE, &disk, 1, NULL, parts, 6) == 6)
			for (i = 0; i < 6; i += 2) {
				if (set_holds(&pools, parts[i], parts[i + 1]))
					continue;
				set_add(&pools, parts[i], parts[i + 1]);
				box_owner(parts[i], parts[i + 1], "a disk's queue");
			}
}

/*
 * A kernel that a panic has started knows nothing of what the one before has
 * shared, nor does it touch that memory: it stays as it is.
 */
static void find_crashed(void)
{
	static struct set seen, own;
	FILE *f = NULL;
	uint64_t from, to;
	char line[256];
	int n;

	if (!access("/proc/vmcore", F_OK))
		f = fopen("/proc/iomem", "re");
	if (!f)
		return;
	own.n = 0;
	while (fgets(line, sizeof(line), f))
		if (strstr(line, "System RAM") &&
		    sscanf(line, "%" SCNx64 "-%" SCNx64, &from, &to) == 2)
			set_add(&own, from, to + 1 - from);
	fclose(f);
	n = box_audit(0, 0, NULL, seen.range, SET_MAX / 2);
	if (n < 0)
		return;
	seen.n = n;
	set_minus(&seen, &own, &pools);
}

/* model_init - what is visible after boot */
void model_init(void)
{
	pools.n = atomic.n = bounce.n = held.n = 0;
	known_more.n = known_less.n = 0;
	find_crashed();
	bounce_known = false;
	find_bounce();
	if (*model_disks_pool())
		model_share("disks");
	find_queues();
}

/* model_hold - from now on this memory is visible, as the test has asked for it */
void model_hold(uint64_t addr, uint64_t bytes)
{
	set_add(&held, addr, bytes);
}

/* model_drop - the test has given it back: it is private again */
void model_drop(uint64_t addr, uint64_t bytes)
{
	uint64_t end = (addr + bytes + PAGE - 1) & ~(PAGE - 1);

	addr &= ~(PAGE - 1);
	set_remove(&held, addr, end - addr);
}

/* model_keep - it is visible for good */
void model_keep(uint64_t addr, uint64_t bytes)
{
	set_add(&pools, addr, bytes);
}

/* model_atomic_pages - the pools for atomic allocations, as the last audit found them */
uint64_t model_atomic_pages(void)
{
	return set_pages(&atomic);
}

/*
 * Lets the pools for atomic allocations grow to their end: another CPU may be
 * at it, and they are larger than debugfs says until it is done.  Without the
 * driver nobody has made them grow.
 *
 * Return: 0 or a negative errno.
 */
static int settle(void)
{
	static int fd = -1;

	if (fd < 0)
		fd = open("/dev/testbed-plain-64", O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	return ioctl(fd, TESTBED_IOC_SETTLE) ? -errno : 0;
}

static void say(const char *step, const struct set *set, const char *what)
{
	unsigned int i;

	for (i = 0; i < set->n && i < 8; i++)
		box_log("%s: %s: %#" PRIx64 ", %" PRIu64 " pages", step, what,
			set->range[i].addr, set->range[i].pages);
	if (set->n > 8)
		box_log("%s: %s: and %u ranges more", step, what, set->n - 8);
}

/**
 * model_compare - audit, and compare with the model
 * @step: after which step, for the report
 *
 * A page that was wrong at the last audit already and still is has been
 * reported: it is the fault of an earlier step.
 *
 * Return: 0 if the host sees exactly what it should, but for such pages; 1,
 * with what is wrong reported; a negative errno if there is no answer.
 */
int model_compare(const char *step)
{
	static struct set seen, want, more, less, fresh;
	uint64_t grown;
	unsigned int i;
	int n, bad;

	n = settle();
	if (!n)
		n = box_audit(0, 0, NULL, seen.range, SET_MAX / 2);
	if (n < 0) {
		box_log("%s: audit: %s", step, strerror(-n));
		return n;
	}
	seen.n = n;

	if (!bounce_known && bounce_bytes) {
		if (set_holds(&seen, bounce_addr, bounce_bytes))
			set_add(&bounce, bounce_addr, bounce_bytes);
		bounce_known = true;
	}
	want = pools;
	set_join(&want, &atomic);
	set_join(&want, &bounce);
	set_join(&want, &held);
	set_minus(&seen, &want, &more);
	set_minus(&want, &seen, &less);

	grown = atomic_bytes() / PAGE - set_pages(&atomic);
	if (more.n && set_pages(&more) == grown) {
		for (i = 0; i < more.n; i++)
			box_owner(more.range[i].addr, more.range[i].pages * PAGE,
				  "pools for atomic allocations, for all devices");
		set_join(&atomic, &more);
		more.n = 0;
	}
	set_minus(&more, &known_more, &fresh);
	bad = !!fresh.n;
	say(step, &fresh, "visible and should not be");
	set_minus(&less, &known_less, &fresh);
	bad |= !!fresh.n;
	say(step, &fresh, "not visible and should be");
	known_more = more;
	known_less = less;
	return bad;
}
