// SPDX-License-Identifier: GPL-2.0
/*
 * Restricted DMA pools: does the DMA of a device go through its pool, is what
 * it transfers what was meant, and does the pool get its slots back?
 *
 * Which device has which pool is in the device tree, how much of a pool is in
 * use in debugfs.  Run it as root and on a machine that is otherwise idle:
 * the I/O of others moves the same counters, and their warnings are in the
 * same log.
 *
 * Disks are read and not written to, unless the environment names one:
 *
 *	DMA_TEST_WRITE_DISK	A block device with a pool. What is on it is lost.
 *	DMA_TEST_DEVICE		A platform device with a pool, as its folder in
 *				/sys/bus/platform/devices is called, that may
 *				be taken from its driver and be bound to
 *				dma_map_benchmark. Default: one without a driver.
 */
#define _GNU_SOURCE
#define _FILE_OFFSET_BITS 64
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "../kselftest_harness.h"

#define DEBUGFS		"/sys/kernel/debug"
#define RESERVED	"/sys/firmware/devicetree/base/reserved-memory"
#define PLATFORM	"/sys/bus/platform"
#define BENCHMARK	PLATFORM "/drivers/dma_map_benchmark"

#define SLOT		2048UL		/* IO_TLB_SIZE */
#define KB		1024UL
#define CHUNK		(4 * KB)
#define MAX_IO		(1024 * KB)
#define MAX_POOLS	16
#define MAX_DISKS	32
#define MAX_PIECES	16
#define IN_FLIGHT	16

/* Found in the device tree; @dir is empty if no device is attached */
static struct pool {
	char name[NAME_MAX + 1];
	char dir[PATH_MAX];
	uint8_t phandle[4];
	uint64_t size;
	long at_rest;
} pools[MAX_POOLS];
static int nr_pools;

/* The disks that have a pool */
static struct disk {
	char name[NAME_MAX + 1];
	char sysfs[PATH_MAX];
	struct pool *pool;
	bool in_use;
	int direct, plain;
	size_t block;
	uint64_t bytes;
} disks[MAX_DISKS];
static int nr_disks;

static int kmsg = -1;

/* ---- sysfs, debugfs and device tree ---- */

static ssize_t read_file(void *buf, size_t size, const char *fmt, ...)
{
	char path[PATH_MAX];
	va_list ap;
	ssize_t n;
	int fd;

	va_start(ap, fmt);
	vsnprintf(path, sizeof(path), fmt, ap);
	va_end(ap);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	n = read(fd, buf, size);
	if (n < 0)
		n = -errno;
	close(fd);
	return n;
}

static int write_file(const char *text, const char *fmt, ...)
{
	char path[PATH_MAX];
	int fd, err = 0;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(path, sizeof(path), fmt, ap);
	va_end(ap);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		err = -errno;
	close(fd);
	return err;
}

/* A number, or a negative errno */
static long read_number(const char *dir, const char *file)
{
	char buf[32];
	ssize_t n = read_file(buf, sizeof(buf) - 1, "%s/%s", dir, file);

	if (n < 0)
		return n;
	buf[n] = 0;
	return strtol(buf, NULL, 0);
}

static uint64_t be_cells(const uint8_t *p, unsigned int cells)
{
	uint64_t val = 0;
	unsigned int i;

	for (i = 0; i < 4 * cells; i++)
		val = val << 8 | p[i];
	return val;
}

/* The number of cells is a property of the parent */
static unsigned int read_cells(const char *prop, unsigned int otherwise)
{
	uint8_t buf[4];

	if (read_file(buf, sizeof(buf), RESERVED "/%s", prop) != sizeof(buf))
		return otherwise;
	return be_cells(buf, 1) > 2 ? 2 : be_cells(buf, 1);
}

static uint64_t read_size(const char *node)
{
	unsigned int addr = read_cells("#address-cells", 2);
	unsigned int size = read_cells("#size-cells", 1);
	uint8_t buf[16];

	if (read_file(buf, sizeof(buf), RESERVED "/%s/reg", node) ==
	    4 * (addr + size))
		return be_cells(buf + 4 * addr, size);
	if (read_file(buf, sizeof(buf), RESERVED "/%s/size", node) == 4 * size)
		return be_cells(buf, size);
	return 0;
}

static bool is_restricted_pool(const char *node)
{
	char buf[256], *p;
	ssize_t n;

	n = read_file(buf, sizeof(buf) - 1, RESERVED "/%s/status", node);
	if (n > 0) {
		buf[n] = 0;
		if (strcmp(buf, "okay") && strcmp(buf, "ok"))
			return false;
	}
	n = read_file(buf, sizeof(buf) - 1, RESERVED "/%s/compatible", node);
	if (n <= 0)
		return false;
	buf[n] = 0;
	for (p = buf; p < buf + n; p += strlen(p) + 1)
		if (!strcmp(p, "restricted-dma-pool"))
			return true;
	return false;
}

/* A pool is set up when its first device is attached */
static bool is_set_up(struct pool *pool)
{
	/* In the latter if that was before swiotlb's own folder was there */
	static const char *const places[] = { DEBUGFS "/swiotlb", DEBUGFS };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(places); i++) {
		snprintf(pool->dir, sizeof(pool->dir), "%s/%s", places[i], pool->name);
		if (read_number(pool->dir, "io_tlb_nslabs") > 0)
			return true;
	}
	pool->dir[0] = 0;
	return false;
}

static void find_pools(void)
{
	DIR *dir = opendir(RESERVED);
	struct dirent *e;

	nr_pools = 0;
	while (dir && (e = readdir(dir)) && nr_pools < MAX_POOLS) {
		struct pool *pool = &pools[nr_pools];

		if (e->d_name[0] == '.' || !is_restricted_pool(e->d_name))
			continue;
		memset(pool, 0, sizeof(*pool));
		if (read_file(pool->phandle, 4, RESERVED "/%s/phandle", e->d_name) != 4)
			continue;
		snprintf(pool->name, sizeof(pool->name), "%s", e->d_name);
		pool->size = read_size(e->d_name);
		pool->at_rest = LONG_MAX;
		nr_pools++;
	}
	if (dir)
		closedir(dir);
}

/* Return: 1 if the device has memory regions of its own, and which pool is one */
static int pool_of_node(const char *sysfs, struct pool **pool)
{
	uint8_t regions[64];
	ssize_t n, i;
	int p;

	*pool = NULL;
	n = read_file(regions, sizeof(regions), "%s/of_node/memory-region", sysfs);
	for (i = 0; i + 4 <= n; i += 4)
		for (p = 0; p < nr_pools; p++)
			if (!memcmp(regions + i, pools[p].phandle, 4)) {
				*pool = &pools[p];
				return 1;
			}
	return n > 0;
}

static bool is_on_bus(const char *sysfs, const char *bus)
{
	char path[PATH_MAX], link[PATH_MAX], *name;
	ssize_t n;

	if (snprintf(path, sizeof(path), "%s/subsystem", sysfs) >= (int)sizeof(path))
		return false;
	n = readlink(path, link, sizeof(link) - 1);
	if (n < 0)
		return false;
	link[n] = 0;
	name = strrchr(link, '/');
	return name && !strcmp(name + 1, bus);
}

/*
 * It is not a disk that does DMA but the controller it is behind; and a PCI
 * device has the pool of its host bridge, if it has none of its own.
 */
static struct pool *pool_of_device(const char *sysfs)
{
	char dir[PATH_MAX], *slash;
	struct pool *pool;

	if (!realpath(sysfs, dir))
		return NULL;
	while (!strncmp(dir, "/sys/devices/", 13)) {
		if (pool_of_node(dir, &pool))
			return pool;
		if (is_on_bus(dir, "platform") || is_on_bus(dir, "amba"))
			break;
		slash = strrchr(dir, '/');
		*slash = 0;
	}
	return NULL;
}

static void find_disks(void)
{
	DIR *dir = opendir("/sys/block");
	struct dirent *e;

	nr_disks = 0;
	while (dir && (e = readdir(dir)) && nr_disks < MAX_DISKS) {
		struct disk *disk = &disks[nr_disks];

		memset(disk, 0, sizeof(*disk));
		disk->direct = -1;
		disk->plain = -1;
		snprintf(disk->sysfs, sizeof(disk->sysfs), "/sys/block/%s", e->d_name);
		disk->pool = pool_of_device(disk->sysfs);
		if (!disk->pool || read_number(disk->sysfs, "size") <= 0)
			continue;
		snprintf(disk->name, sizeof(disk->name), "%s", e->d_name);
		nr_disks++;
	}
	if (dir)
		closedir(dir);
}

/* ---- what has to hold whatever is done: slots come back, no warning ---- */

static long slots_used(const struct pool *pool)
{
	return read_number(pool->dir, "io_tlb_used");
}

static bool marks_are_kept;

/* As of Linux 7.3 only if it is told to */
static bool keeps_marks(void)
{
	FILE *f = fopen("/proc/cmdline", "re");
	unsigned int major = 0, minor = 0;
	char line[4096] = "";
	struct utsname uts;

	if (f) {
		if (!fgets(line, sizeof(line), f))
			line[0] = 0;
		fclose(f);
	}
	if (strstr(line, "track_hiwater"))
		return true;
	return !uname(&uts) && sscanf(uts.release, "%u.%u", &major, &minor) == 2 &&
	       (major < 7 || (major == 7 && minor < 3));
}

static void reset_hiwater(const struct pool *pool)
{
	write_file("0", "%s/io_tlb_used_hiwater", pool->dir);
}

/* How many were in use at a time, beside the usual ones, since the mark was reset? */
static long slots_taken(const struct pool *pool)
{
	long mark = read_number(pool->dir, "io_tlb_used_hiwater");

	return mark > pool->at_rest ? mark - pool->at_rest : 0;
}

/* Return: a file descriptor that reads from the log's first record or only what comes */
static int open_log(int whence)
{
	int fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);

	if (fd >= 0 && lseek(fd, 0, whence) < 0) {
		close(fd);
		fd = -1;
	}
	return fd;
}

/* Return: the text of the next record of the kernel itself, or NULL */
static const char *next_record(int log, int *level)
{
	static char record[8192];
	unsigned int prio;
	char *text;
	ssize_t n;

	for (;;) {
		n = read(log, record, sizeof(record) - 1);
		if (n < 0 && errno == EPIPE)
			continue;
		if (n <= 0)
			return NULL;
		record[n] = 0;
		text = strchr(record, ';');
		if (!text || sscanf(record, "%u,", &prio) != 1 || prio >> 3)
			continue;
		text[strcspn(text, "\n")] = 0;
		*level = prio & 7;
		return text + 1;
	}
}

/* Return: true also if there is no knowing */
static bool kernel_has(const char *function)
{
	FILE *symbols = fopen("/proc/kallsyms", "re");
	bool known = !symbols;
	char name[128];

	while (!known && fscanf(symbols, "%*s %*s %127s%*[^\n]", name) == 1)
		known = !strcmp(name, function);
	if (symbols)
		fclose(symbols);
	return known;
}

/* Common to all fixtures.  Return: false if the test was skipped */
static bool begin(struct __test_metadata *_metadata)
{
	int i, ms, ready = 0;

	if (geteuid())
		SKIP(return false, "needs root");
	if (access("/sys/firmware/devicetree/base", F_OK))
		SKIP(return false, "this machine has no device tree");
	find_pools();
	if (!nr_pools)
		SKIP(return false, "the device tree has no restricted DMA pool");
	mkdir(DEBUGFS, 0700);
	if (access(DEBUGFS "/swiotlb", F_OK))
		mount("debugfs", DEBUGFS, "debugfs", 0, NULL);
	if (access(DEBUGFS "/swiotlb", F_OK))
		SKIP(return false, "no " DEBUGFS "/swiotlb: CONFIG_DEBUG_FS, CONFIG_SWIOTLB?");
	for (i = 0; i < nr_pools; i++)
		ready += is_set_up(&pools[i]);
	if (!ready && !kernel_has("swiotlb_alloc"))
		SKIP(return false, "kernel without CONFIG_DMA_RESTRICTED_POOL");
	find_disks();

	kmsg = open_log(SEEK_END);
	if (kmsg < 0)
		TH_LOG("/dev/kmsg: %s, the kernel's log is not looked at", strerror(errno));
	for (ms = 0; ms < 100; ms += 5) {
		for (i = 0; i < nr_pools; i++)
			if (pools[i].dir[0] && slots_used(&pools[i]) < pools[i].at_rest)
				pools[i].at_rest = slots_used(&pools[i]);
		usleep(5000);
	}
	marks_are_kept = keeps_marks();
	for (i = 0; i < nr_pools; i++)
		if (pools[i].dir[0] && read_number(pools[i].dir, "io_tlb_used_hiwater") <
				       pools[i].at_rest)
			marks_are_kept = false;
	if (!marks_are_kept)
		TH_LOG("slots in use at most are not known without swiotlb=track_hiwater");
	return true;
}

static void expect_at_rest(struct __test_metadata *_metadata, const struct pool *pool)
{
	long used;
	int ms;

	for (ms = 0; ms < 5000; ms += 5) {
		used = slots_used(pool);
		if (used <= pool->at_rest)
			break;
		usleep(5000);
	}
	EXPECT_LE(used, pool->at_rest)
		TH_LOG("%s: %ld slots in use before the test, %ld for 5 s after it",
		       pool->name, pool->at_rest, used);
}

static void end(struct __test_metadata *_metadata)
{
	const char *text;
	int level, i;

	for (i = 0; i < nr_pools; i++)
		if (pools[i].dir[0])
			expect_at_rest(_metadata, &pools[i]);
	while (kmsg >= 0 && (text = next_record(kmsg, &level))) {
		EXPECT_GT(level, LOG_WARNING)
			TH_LOG("the kernel says: %s", text);
	}
}

/* ---- a pool and its devices ---- */

FIXTURE(pool)
{
};

FIXTURE_SETUP(pool)
{
	begin(_metadata);
}

FIXTURE_TEARDOWN(pool)
{
	end(_metadata);
}

/* A device whose pool fails goes on without it, with a warning and no error */
TEST_F(pool, devices_attached)
{
	static const char *const buses[] = { "platform", "amba" };
	char path[PATH_MAX], link[PATH_MAX];
	struct pool *pool;
	struct dirent *e;
	const char *text;
	int log, level, found = 0;
	size_t i;
	DIR *dir;

	for (i = 0; i < ARRAY_SIZE(buses); i++) {
		snprintf(path, sizeof(path), "/sys/bus/%s/devices", buses[i]);
		dir = opendir(path);
		while (dir && (e = readdir(dir))) {
			snprintf(path, sizeof(path), "/sys/bus/%s/devices/%s",
				 buses[i], e->d_name);
			if (e->d_name[0] == '.' || !pool_of_node(path, &pool) || !pool)
				continue;
			snprintf(path, sizeof(path), "/sys/bus/%s/devices/%s/driver",
				 buses[i], e->d_name);
			if (readlink(path, link, sizeof(link)) < 0)
				continue;
			found++;
			EXPECT_NE(0, pool->dir[0])
				TH_LOG("%s has a driver, its pool %s is not set up",
				       e->d_name, pool->name);
			if (pool->dir[0])
				TH_LOG("%s is on %s, %ld of %ld slots in use", e->d_name,
				       pool->name, slots_used(pool),
				       read_number(pool->dir, "io_tlb_nslabs"));
		}
		if (dir)
			closedir(dir);
	}

	if (!found)
		SKIP(return, "no device with a driver has a restricted DMA pool");

	log = open_log(SEEK_SET);
	while (log >= 0 && (text = next_record(log, &level))) {
		EXPECT_EQ(NULL, strstr(text, "failed to initialise \"restricted-dma-pool\""))
			TH_LOG("the kernel says: %s", text);
	}
	if (log >= 0)
		close(log);
}

TEST_F(pool, size)
{
	int i, found = 0;
	long slots;

	for (i = 0; i < nr_pools; i++) {
		if (!pools[i].dir[0])
			continue;
		found++;
		slots = read_number(pools[i].dir, "io_tlb_nslabs");
		EXPECT_LE(slots_used(&pools[i]), slots);
		if (!pools[i].size)
			continue;
		EXPECT_EQ(pools[i].size / SLOT, slots)
			TH_LOG("%s has the wrong size", pools[i].name);
	}
	if (!found)
		SKIP(return, "no restricted DMA pool is set up");
}

/* ---- I/O ---- */

/* How a transfer is done */
struct method {
	bool direct;
	int pieces;
	size_t skew;	/* bytes off the block, at both ends */
};

/* Memory for one transfer, in one piece or several, with a gap around each */
struct buffer {
	uint8_t *mem;
	size_t size;
	struct iovec piece[MAX_PIECES];
	int pieces;
};

static int make_buffer(struct buffer *buf, size_t len, size_t block, size_t shift,
		       int pieces)
{
	size_t each, pos = CHUNK + shift;
	int i;

	if ((size_t)pieces > len / block)
		pieces = len / block ?: 1;
	buf->pieces = pieces;
	buf->size = 2 * CHUNK + len + (pieces + 1) * block + shift;
	buf->size = (buf->size + CHUNK - 1) & ~(CHUNK - 1);
	if (posix_memalign((void **)&buf->mem, CHUNK, buf->size))
		return -ENOMEM;
	each = pieces > 1 ? len / block / pieces * block : len;
	for (i = 0; i < pieces; i++) {
		buf->piece[i].iov_base = buf->mem + pos;
		buf->piece[i].iov_len = i < pieces - 1 ? each : len - i * each;
		pos += buf->piece[i].iov_len + block;
	}
	return 0;
}

static void put_data(struct buffer *buf, const uint8_t *data)
{
	int i;

	for (i = 0; i < buf->pieces; i++) {
		memcpy(buf->piece[i].iov_base, data, buf->piece[i].iov_len);
		data += buf->piece[i].iov_len;
	}
}

/* Return: where @data and what is in the buffer differ, or -1 */
static ssize_t differs(const uint8_t *data, const void *what, size_t len)
{
	const uint8_t *other = what;
	size_t i;

	if (!memcmp(data, other, len))
		return -1;
	for (i = 0; data[i] == other[i]; i++)
		;
	return i;
}

static ssize_t buffer_differs(const struct buffer *buf, const uint8_t *data)
{
	size_t done = 0;
	ssize_t at;
	int i;

	for (i = 0; i < buf->pieces; i++) {
		at = differs(data + done, buf->piece[i].iov_base, buf->piece[i].iov_len);
		if (at >= 0)
			return done + at;
		done += buf->piece[i].iov_len;
	}
	return -1;
}

/* Is all that is around the pieces what it was filled with? */
static bool gaps_hold(const struct buffer *buf, uint8_t fill)
{
	const uint8_t *p = buf->mem, *end;
	int i;

	for (i = 0; i <= buf->pieces; i++) {
		end = i < buf->pieces ? buf->piece[i].iov_base : buf->mem + buf->size;
		for (; p < end; p++)
			if (*p != fill)
				return false;
		if (i < buf->pieces)
			p += buf->piece[i].iov_len;
	}
	return true;
}

/* No two blocks alike, and none like the block of another seed */
static void fill_pattern(uint8_t *data, size_t len, uint64_t seed)
{
	uint64_t word;
	size_t i;

	for (i = 0; i < len; i += sizeof(word)) {
		word = (seed + i) * 0x9e3779b97f4a7c15ULL;
		word ^= word >> 29;
		memcpy(data + i, &word, len - i < sizeof(word) ? len - i : sizeof(word));
	}
}

/* In smaller pieces, each by itself: what a transfer is compared with */
static int transfer_chunks(const struct disk *disk, uint64_t pos, uint8_t *data,
			   size_t len, bool write)
{
	size_t unit = disk->block > CHUNK ? disk->block : CHUNK;
	size_t chunk = len / 16 / unit * unit ?: unit;
	size_t done, n;
	ssize_t ret;

	for (done = 0; done < len; done += n) {
		n = len - done < chunk ? len - done : chunk;
		if (write)
			ret = pwrite(disk->direct, data + done, n, pos + done);
		else
			ret = pread(disk->direct, data + done, n, pos + done);
		if (ret != (ssize_t)n)
			return ret < 0 ? -errno : -EIO;
	}
	return 0;
}

/*
 * The fewest slots that a transfer takes all at once: the block layer splits
 * what is larger than the limits of the queue, and more than 128 KB are not
 * taken for granted.
 */
static long slots_needed(const struct disk *disk, size_t len, size_t piece)
{
	long page = sysconf(_SC_PAGESIZE), limit;

	/* May split where it wants */
	limit = read_number(disk->sysfs, "queue/chunk_sectors");
	if (limit > 0)
		return 1;
	limit = read_number(disk->sysfs, "queue/max_sectors_kb") * KB;
	if (limit > 0 && (size_t)limit < len)
		len = limit;
	limit = (read_number(disk->sysfs, "queue/max_segments") - 1) *
		(piece < (size_t)page ? (long)piece : page);
	if (limit >= 0 && (size_t)limit < len)
		len = limit;
	if (len > 128 * KB)
		len = 128 * KB;
	return (len + SLOT - 1) / SLOT ?: 1;
}

FIXTURE(disk)
{
	struct disk *write;
};

FIXTURE_VARIANT(disk)
{
	struct method by;
};

FIXTURE_VARIANT_ADD(disk, direct)
{
	.by.direct = true,
	.by.pieces = 1,
};

FIXTURE_VARIANT_ADD(disk, scattered)
{
	.by.direct = true,
	.by.pieces = MAX_PIECES,
};

FIXTURE_VARIANT_ADD(disk, buffered)
{
	.by.pieces = 1,
	.by.skew = 1,
};

static bool open_disk(struct __test_metadata *_metadata, struct disk *disk,
		      const char *path, int flags)
{
	char node[PATH_MAX];
	int block;

	if (!path) {
		snprintf(node, sizeof(node), "/dev/%s", disk->name);
		for (char *p = node + 5; *p; p++)
			if (*p == '!')
				*p = '/';
		path = node;
	}
	disk->direct = open(path, flags | O_DIRECT | O_EXCL | O_CLOEXEC);
	if (disk->direct < 0 && errno == EBUSY && flags == O_RDONLY) {
		disk->in_use = true;
		disk->direct = open(path, flags | O_DIRECT | O_CLOEXEC);
	}
	disk->plain = open(path, flags | O_CLOEXEC);
	EXPECT_TRUE(disk->direct >= 0 && disk->plain >= 0) {
		TH_LOG("%s: %s", path, strerror(errno));
		return false;
	}
	EXPECT_EQ(0, ioctl(disk->direct, BLKSSZGET, &block))
		return false;
	EXPECT_EQ(0, ioctl(disk->direct, BLKGETSIZE64, &disk->bytes))
		return false;
	disk->block = block;
	return true;
}

static void close_disk(struct disk *disk)
{
	if (disk->direct >= 0)
		close(disk->direct);
	if (disk->plain >= 0)
		close(disk->plain);
	disk->direct = -1;
	disk->plain = -1;
}

/*
 * Return: the i-th length that is tested, in whole blocks, or 0 if there are no
 * more: none is to fill more of the pool than a third.
 */
static size_t length(const struct disk *disk, unsigned int i)
{
	static const size_t lengths[] = {
		1, 513, 1025, 4 * KB, 4 * KB + 1, 12 * KB, 64 * KB - 512, 64 * KB,
		128 * KB, 128 * KB + 1, 256 * KB, 512 * KB, MAX_IO,
	};
	long slots = read_number(disk->pool->dir, "io_tlb_nslabs") - disk->pool->at_rest;
	size_t len;

	if (i >= ARRAY_SIZE(lengths) || slots <= 0)
		return 0;
	len = (lengths[i] + disk->block - 1) / disk->block * disk->block;
	if (len > slots * SLOT / 3 || len + 2 * disk->block > disk->bytes)
		return 0;
	return len;
}

/*
 * One read is what many small ones are.
 *
 * Return: NULL if all is well, or what is not.
 */
static const char *read_once(const struct disk *disk,
			     const struct method *by,
			     uint64_t pos, size_t len, size_t shift, long *taken)
{
	static const uint8_t fills[] = { 0xa5, 0x5a };
	int tries = disk->in_use ? 5 : 1;
	const char *wrong = NULL;
	struct buffer buf;
	uint8_t *want;
	size_t i;

	if (posix_memalign((void **)&want, CHUNK, len + CHUNK))
		return "no memory";
	if (make_buffer(&buf, len - 2 * by->skew, disk->block, shift,
			by->pieces)) {
		free(want);
		return "no memory";
	}

	/* What is on a disk that is in use may change in between */
	do {
		wrong = NULL;
		memset(want, 0x3c, len);
		if (transfer_chunks(disk, pos, want, len, false))
			wrong = "a read of a part of it failed";
		for (i = 0; i < ARRAY_SIZE(fills) && !wrong; i++) {
			ssize_t n;

			memset(buf.mem, fills[i], buf.size);
			posix_fadvise(disk->plain, 0, 0, POSIX_FADV_DONTNEED);
			reset_hiwater(disk->pool);
			n = preadv(by->direct ? disk->direct : disk->plain,
				   buf.piece, buf.pieces, pos + by->skew);
			*taken = slots_taken(disk->pool);
			if (n < 0)
				wrong = strerror(errno);
			else if ((size_t)n != len - 2 * by->skew)
				wrong = "short";
			else if (!gaps_hold(&buf, fills[i]))
				wrong = "wrote beside the buffer";
			else if (buffer_differs(&buf, want + by->skew) >= 0)
				wrong = "is not what its parts are";
		}
	} while (wrong && --tries);
	free(buf.mem);
	free(want);
	return wrong;
}

static void read_disk(struct __test_metadata *_metadata, const struct disk *disk,
		      const struct method *by)
{
	bool through_pool = marks_are_kept;
	long taken = 0, most = 0, need;
	const char *wrong;
	uint64_t pos = 0;
	unsigned int i;
	size_t len;

	for (i = 0; (len = length(disk, i)); i++) {
		if (pos + len > disk->bytes)
			pos = 0;
		wrong = read_once(disk, by, pos, len,
				  i % 2 * (by->direct ? disk->block : 1), &taken);
		EXPECT_EQ(NULL, wrong)
			TH_LOG("%s: read of %zu bytes at %ju: %s", disk->name,
			       len, (uintmax_t)pos, wrong);
		if (taken > most)
			most = taken;
		/* Of others, all may have been in the page cache */
		if (by->direct && through_pool) {
			need = slots_needed(disk, len, len / by->pieces);
			EXPECT_GE(taken, need) {
				TH_LOG("%s: read of %zu bytes: %ld slots of %s",
				       disk->name, len, taken, disk->pool->name);
				through_pool = false;
			}
		}
		pos += ((len + CHUNK - 1) & ~(CHUNK - 1)) + disk->block;
	}
	if (!marks_are_kept)
		return;
	EXPECT_GE(most, 1)
		TH_LOG("%s: what was read did not go through %s", disk->name,
		       disk->pool->name);
	TH_LOG("%s: %u lengths, up to %ld slots of %s at a time", disk->name, i, most,
	       disk->pool->name);
}

FIXTURE_SETUP(disk)
{
	const char *path = getenv("DMA_TEST_WRITE_DISK");
	static struct disk write_disk;
	struct stat st;
	int i;

	if (!begin(_metadata))
		return;
	if (path && *path) {
		ASSERT_EQ(0, stat(path, &st))
			TH_LOG("DMA_TEST_WRITE_DISK=%s: %s", path, strerror(errno));
		ASSERT_TRUE(S_ISBLK(st.st_mode))
			TH_LOG("DMA_TEST_WRITE_DISK=%s: no block device", path);
		self->write = &write_disk;
		snprintf(write_disk.name, sizeof(write_disk.name), "%s", path);
		snprintf(write_disk.sysfs, sizeof(write_disk.sysfs), "/sys/dev/block/%u:%u",
			 major(st.st_rdev), minor(st.st_rdev));
		/* The queue is that of the whole disk */
		if (read_number(write_disk.sysfs, "partition") > 0)
			snprintf(write_disk.sysfs, sizeof(write_disk.sysfs),
				 "/sys/dev/block/%u:%u/..", major(st.st_rdev),
				 minor(st.st_rdev));
		write_disk.direct = -1;
		write_disk.plain = -1;
		write_disk.pool = pool_of_device(write_disk.sysfs);
		ASSERT_NE(NULL, write_disk.pool)
			TH_LOG("DMA_TEST_WRITE_DISK=%s: has no restricted DMA pool", path);
	}
	if (!nr_disks)
		SKIP(return, "no disk has a restricted DMA pool");
	for (i = 0; i < nr_disks; i++) {
		ASSERT_NE(0, disks[i].pool->dir[0])
			TH_LOG("%s: its pool %s is not set up", disks[i].name,
			       disks[i].pool->name);
	}
}

FIXTURE_TEARDOWN(disk)
{
	int i;

	for (i = 0; i < nr_disks; i++)
		close_disk(&disks[i]);
	if (self->write)
		close_disk(self->write);
	end(_metadata);
}

/*
 * A write changes what it is meant to and neither of the blocks beside that, seen
 * by small reads and by one as large as the write.
 */
TEST_F_TIMEOUT(disk, write, 120)
{
	/* No run is to be content with what another has left there */
	uint64_t pos = 0, seed = (uint64_t)time(NULL) << 32 ^ getpid();
	struct disk *disk = self->write;
	uint8_t *window, *seen, *data;
	bool through_pool = marks_are_kept;
	const char *wrong;
	size_t len, all, most;
	struct buffer buf;
	long taken, need;
	unsigned int i;
	ssize_t n;
	int fd;

	if (!disk)
		SKIP(return, "DMA_TEST_WRITE_DISK names no disk that may be written to");
	ASSERT_TRUE(open_disk(_metadata, disk, disk->name, O_RDWR));
	most = MAX_IO + 3 * disk->block;
	ASSERT_EQ(0, posix_memalign((void **)&window, CHUNK, most));
	ASSERT_EQ(0, posix_memalign((void **)&seen, CHUNK, most));
	fd = variant->by.direct ? disk->direct : disk->plain;

	for (i = 0; (len = length(disk, i)); i++) {
		all = len + 2 * disk->block;
		if (pos + all > disk->bytes)
			pos = 0;
		fill_pattern(window, all, seed + pos);
		ASSERT_EQ(0, transfer_chunks(disk, pos, window, all, true));

		data = window + disk->block + variant->by.skew;
		fill_pattern(data, len - 2 * variant->by.skew, ~(seed + pos));
		ASSERT_EQ(0, make_buffer(&buf, len - 2 * variant->by.skew, disk->block,
					 i % 2 * (variant->by.direct ? disk->block : 1),
					 variant->by.pieces));
		memset(buf.mem, 0xc3, buf.size);
		put_data(&buf, data);
		reset_hiwater(disk->pool);
		n = pwritev(fd, buf.piece, buf.pieces, pos + disk->block + variant->by.skew);
		EXPECT_EQ(len - 2 * variant->by.skew, n)
			TH_LOG("%s: write of %zu bytes at %ju: %s", disk->name, len,
			       (uintmax_t)pos, n < 0 ? strerror(errno) : "short");
		EXPECT_EQ(0, fsync(fd))
			TH_LOG("%s: fsync: %s", disk->name, strerror(errno));
		taken = slots_taken(disk->pool);
		need = variant->by.direct ? slots_needed(disk, len, len / variant->by.pieces) : 1;
		if (through_pool) {
			EXPECT_GE(taken, need) {
				TH_LOG("%s: write of %zu bytes: %ld slots of %s",
				       disk->name, len, taken, disk->pool->name);
				through_pool = false;
			}
		}
		EXPECT_EQ(-1, buffer_differs(&buf, data))
			TH_LOG("%s: write of %zu bytes: changed the data", disk->name, len);
		free(buf.mem);

		memset(seen, 0x3c, all);
		EXPECT_EQ(0, transfer_chunks(disk, pos, seen, all, false));
		n = differs(window, seen, all);
		EXPECT_EQ(-1, n)
			TH_LOG("%s: write of %zu bytes at %ju: byte %zd is wrong", disk->name,
			       len, (uintmax_t)pos + disk->block, n - (ssize_t)disk->block);
		wrong = read_once(disk, &variant->by, pos + disk->block, len, 0, &taken);
		EXPECT_EQ(NULL, wrong)
			TH_LOG("%s: %zu bytes, read back at once: %s", disk->name, len, wrong);
		pos += ((all + CHUNK - 1) & ~(CHUNK - 1)) + disk->block;
	}
	EXPECT_GT(i, 0)
		TH_LOG("%s: too little room in %s", disk->name, disk->pool->name);
	free(seen);
	free(window);
}

TEST_F_TIMEOUT(disk, read, 120)
{
	int i;

	for (i = 0; i < nr_disks; i++) {
		if (!open_disk(_metadata, &disks[i], NULL, O_RDONLY))
			continue;
		read_disk(_metadata, &disks[i], &variant->by);
		close_disk(&disks[i]);
	}
}

/* Many at a time, of all disks, so that their slots lie among each other */
TEST_F_TIMEOUT(disk, read_in_flight, 120)
{
	int i, n, status, started = 0;
	pid_t pid[IN_FLIGHT];

	for (i = 0; i < nr_disks; i++) {
		ASSERT_TRUE(open_disk(_metadata, &disks[i], NULL, O_RDONLY))
			TH_LOG("%s: cannot be read", disks[i].name);
	}
	for (n = 0; n < IN_FLIGHT; n++) {
		const struct disk *disk = &disks[n % nr_disks];
		long slots = read_number(disk->pool->dir, "io_tlb_nslabs") -
			     disk->pool->at_rest;
		size_t len = 64 * KB;
		const char *wrong = NULL;
		uint64_t pos;
		long taken;

		/* All of them together are not to fill more of a pool than half */
		while (len > disk->block && (len * IN_FLIGHT * 2 > slots * SLOT ||
					     len > disk->bytes))
			len /= 2;
		pos = disk->bytes / len > IN_FLIGHT ? n * len : 0;

		fflush(NULL);
		pid[n] = fork();
		if (pid[n] < 0)
			break;
		if (!pid[n]) {
			for (i = 0; i < 2 && !wrong; i++)
				wrong = read_once(disk, &variant->by, pos, len, 0, &taken);
			if (wrong)
				TH_LOG("%s: read of %zu bytes at %ju: %s", disk->name, len,
				       (uintmax_t)pos, wrong);
			fflush(NULL);
			_exit(!!wrong);
		}
		started++;
	}
	for (n = 0; n < started; n++) {
		ASSERT_EQ(pid[n], waitpid(pid[n], &status, 0));
		EXPECT_EQ(0, status);
	}
	EXPECT_EQ(IN_FLIGHT, started);
}

/* ---- map_benchmark ---- */

FIXTURE(benchmark)
{
	char program[PATH_MAX + 32];
	char device[NAME_MAX + 1];
	char driver[NAME_MAX + 1];	/* to be given the device back */
	bool bound;			/* by us */
	struct pool *pool;
};

FIXTURE_VARIANT(benchmark)
{
	int direction;
};

FIXTURE_VARIANT_ADD(benchmark, bidirectional)
{
	.direction = 0,
};

FIXTURE_VARIANT_ADD(benchmark, to_device)
{
	.direction = 1,
};

FIXTURE_VARIANT_ADD(benchmark, from_device)
{
	.direction = 2,
};

/* The name of a device's driver, or an empty one */
static void driver_of(const char *device, char *driver, size_t size)
{
	char path[PATH_MAX], link[PATH_MAX], *name;
	ssize_t n;

	*driver = 0;
	snprintf(path, sizeof(path), PLATFORM "/devices/%s/driver", device);
	n = readlink(path, link, sizeof(link) - 1);
	if (n < 0)
		return;
	link[n] = 0;
	name = strrchr(link, '/');
	if (name)
		snprintf(driver, size, "%s", name + 1);
}

/* A device with a pool that has the driver, which may be none */
static bool find_device(const char *driver, char *device, size_t size)
{
	char path[PATH_MAX], its[NAME_MAX + 1];
	DIR *dir = opendir(PLATFORM "/devices");
	bool found = false;
	struct pool *pool;
	struct dirent *e;

	while (dir && !found && (e = readdir(dir))) {
		snprintf(path, sizeof(path), PLATFORM "/devices/%s", e->d_name);
		if (e->d_name[0] == '.' || !pool_of_node(path, &pool) || !pool)
			continue;
		driver_of(e->d_name, its, sizeof(its));
		found = !strcmp(its, driver);
		if (found)
			snprintf(device, size, "%s", e->d_name);
	}
	if (dir)
		closedir(dir);
	return found;
}

FIXTURE_SETUP(benchmark)
{
	const char *named = getenv("DMA_TEST_DEVICE");
	char path[PATH_MAX], *slash;
	ssize_t n;
	int err;

	if (!begin(_metadata))
		return;
	if (access(BENCHMARK, F_OK))
		SKIP(return, "no driver dma_map_benchmark: CONFIG_DMA_MAP_BENCHMARK?");
	n = readlink("/proc/self/exe", self->program, PATH_MAX - 1);
	ASSERT_GT(n, 0);
	self->program[n] = 0;
	slash = strrchr(self->program, '/');
	ASSERT_NE(NULL, slash);
	snprintf(slash + 1, 32, "dma_map_benchmark");
	if (access(self->program, X_OK))
		SKIP(return, "the program dma_map_benchmark is not beside this one");

	if (!find_device("dma_map_benchmark", self->device, sizeof(self->device))) {
		if (!access(DEBUGFS "/dma_map_benchmark", F_OK))
			SKIP(return, "dma_map_benchmark is bound to a device without a pool");
		if (named && *named) {
			snprintf(self->device, sizeof(self->device), "%s", named);
			driver_of(named, self->driver, sizeof(self->driver));
		} else if (!find_device("", self->device, sizeof(self->device))) {
			SKIP(return, "no device with a pool is free: name one in DMA_TEST_DEVICE");
		}
	}
	snprintf(path, sizeof(path), PLATFORM "/devices/%s", self->device);
	pool_of_node(path, &self->pool);
	ASSERT_NE(NULL, self->pool)
		TH_LOG("%s: has no restricted DMA pool", self->device);
	if (!access(DEBUGFS "/dma_map_benchmark", F_OK))
		return;

	if (self->driver[0]) {
		ASSERT_EQ(0, write_file(self->device, PLATFORM "/drivers/%s/unbind",
					self->driver));
	}
	self->bound = true;
	err = write_file("dma_map_benchmark", PLATFORM "/devices/%s/driver_override",
			 self->device) ?: write_file(self->device, BENCHMARK "/bind");
	EXPECT_EQ(0, err)
		TH_LOG("%s: cannot be bound to dma_map_benchmark: %s", self->device,
		       strerror(-err));
}

FIXTURE_TEARDOWN(benchmark)
{
	if (self->bound) {
		write_file(self->device, BENCHMARK "/unbind");
		write_file("\n", PLATFORM "/devices/%s/driver_override", self->device);
		if (self->driver[0]) {
			EXPECT_EQ(0, write_file(self->device, PLATFORM "/drivers/%s/bind",
						self->driver));
		}
	}
	end(_metadata);
}

TEST_F_TIMEOUT(benchmark, map_and_unmap, 60)
{
	long page = sysconf(_SC_PAGESIZE), pages = 64 * KB / page ?: 1;
	char command[PATH_MAX + 128], line[256];
	long before;
	FILE *out;

	ASSERT_TRUE(is_set_up(self->pool))
		TH_LOG("%s: its pool %s is not set up", self->device, self->pool->name);
	/* Without what its driver had, which is there again at the end */
	before = self->pool->at_rest;
	self->pool->at_rest = slots_used(self->pool);
	reset_hiwater(self->pool);
	snprintf(command, sizeof(command), "'%s' -s 1 -t 2 -b 64 -d %d -g %ld 2>&1",
		 self->program, variant->direction, pages);
	fflush(NULL);
	out = popen(command, "r");
	ASSERT_NE(NULL, out);
	while (fgets(line, sizeof(line), out))
		TH_LOG("%.*s", (int)strcspn(line, "\n"), line);
	EXPECT_EQ(0, pclose(out));
	if (marks_are_kept) {
		EXPECT_GE(slots_taken(self->pool), pages * page / (long)SLOT)
			TH_LOG("%s: %ld slots of %s", self->device,
			       slots_taken(self->pool), self->pool->name);
	}
	expect_at_rest(_metadata, self->pool);
	self->pool->at_rest = before;
}

TEST_HARNESS_MAIN
