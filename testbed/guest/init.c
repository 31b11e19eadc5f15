// SPDX-License-Identifier: GPL-2.0
/*
 * The guest's /init.  The words after '--' on the kernel command line are what
 * it does, in this order; each is a group of tests, see groups[] below.  Those
 * after 'kexec' and 'crash' are for a second kernel.
 *
 * However it ends, the kernel's log goes to the disk 'log', or, where that disk
 * does not work, its last lines go through the mailbox; then the guest is
 * switched off.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "box.h"
#include "model.h"
#include "tests.h"

static int test_boot_atomic(const char *group);
static int test_bounce(const char *group);
static int test_log(const char *group);
static int test_hang(const char *group);
static int test_panic(const char *group);
static int test_lost(const char *group);

static const struct group {
	const char *name;
	int (*run)(const char *group);
} groups[] = {
	{ "boot", test_boot },
	{ "boot-atomic", test_boot_atomic },
	{ "bounce-64", test_bounce },
	{ "blk", test_blk },
	{ "blk-limit", test_blk_limit },
	{ "dma-pool", test_dma },
	{ "dma-pool-atomic", test_dma },
	{ "dma-plain", test_dma },
	{ "dma-plain-map", test_dma },
	{ "dma-refused", test_dma },
	{ "dma-own", test_dma },
	{ "blk-secrets", test_blk_secrets },
	{ "secrets", test_secrets },
	{ "load", test_load },
	{ "faults", test_faults },
	{ "sanitizers", test_sanitizers },
	{ "bench", test_bench },
	{ "bench-boot", test_bench },
	{ "bench-growth", test_bench },
	{ "bench-few", test_bench },
	{ "kselftest", test_kselftest },
	{ "kexec", test_kexec },
	{ "crash", test_kexec },
	{ "second", test_second },
	{ "log", test_log },
	{ "hang", test_hang },
	{ "panic", test_panic },
	{ "lost", test_lost },
};

/* MEMINFO, MEM_SHARE, MEM_UNSHARE: Documentation/virt/kvm/arm/hypercalls.rst */
#define PKVM_SERVICES	(1U << 2 | 1U << 3 | 1U << 4)

/* test_boot - the guest has come this far, is protected, and shares what it should */
int test_boot(const char *group)
{
	unsigned int services = 0;
	struct utsname uts;
	char line[256];
	int wrong;

	(void)group;
	uname(&uts);
	box_log("Linux %s %s, %ld processors", uts.release, uts.machine,
		sysconf(_SC_NPROCESSORS_ONLN));
	if (!find_log("smccc: KVM: hypervisor services detected", line, sizeof(line)))
		sscanf(line, "%*[^(](%*x %*x %*x %x)", &services);
	if ((services & PKVM_SERVICES) != PKVM_SERVICES) {
		box_result(RESULT_FAIL, "protected: the hypervisor offers no sharing of memory (%#x)",
			   services);
		return 1;
	}
	box_result(RESULT_OK, "protected: the hypervisor offers to share and unshare memory");
	wrong = model_compare("after boot");
	box_map("after boot");
	if (wrong)
		box_result(RESULT_FAIL, "boot: the host does not see what it should");
	else
		box_result(RESULT_OK, "boot: the host sees the pools and nothing else");
	return !!wrong;
}

/*
 * test_boot_atomic - nothing is shared for atomic allocations where each device
 * has a pool of its own: before the driver, and without KUnit
 */
static int test_boot_atomic(const char *group)
{
	uint64_t pages;

	(void)group;
	if (model_compare("before any device may need atomic pools")) {
		box_result(RESULT_FAIL, "atomic pools: the host does not see what it should");
		return 1;
	}
	pages = model_atomic_pages();
	if (pages)
		box_result(RESULT_FAIL, "atomic pools: %llu pages are shared, and no device needs them",
			   (unsigned long long)pages);
	else
		box_result(RESULT_OK, "atomic pools: nothing is shared before a device may need it");
	return !!pages;
}

/*
 * test_bounce - the default swiotlb has so many MB: with restricted pools, what
 * it would have without private memory (arch/arm64/mm/init.c)
 */
static int test_bounce(const char *group)
{
	unsigned long want = strtoul(strchr(group, '-') + 1, NULL, 10);
	uint64_t addr, bytes;

	model_bounce(&addr, &bytes);
	if (bytes != (uint64_t)want << 20)
		box_result(RESULT_FAIL, "bounce: the default swiotlb has %llu KB, and should have %lu MB",
			   (unsigned long long)bytes / 1024, want);
	else
		box_result(RESULT_OK, "bounce: the default swiotlb has %lu MB", want);
	return bytes != (uint64_t)want << 20;
}

/* test_log - nothing: the kernel's own log is what is wanted */
static int test_log(const char *group)
{
	(void)group;
	return 0;
}

/* test_hang - for the test bed's own tests: nothing comes any more */
static int test_hang(const char *group)
{
	(void)group;
	box_log("hanging, as asked");
	/* It always returns -1 */
	while (pause())
		;
	return 1;
}

/* test_panic - for the test bed's own tests: process 1 ends */
static int test_panic(const char *group)
{
	(void)group;
	box_log("ending process 1, as asked");
	_exit(1);
}

/* test_lost - for the test bed's own tests: a second kernel is announced and does not come */
static int test_lost(const char *group)
{
	uint64_t arg = KERNEL_COMES_NEXT;

	(void)group;
	box_log("ending without a second kernel, as asked");
	box_command(MAILBOX_KERNEL, &arg, 1, NULL, NULL, 0);
	return -1;
}

/**
 * read_file - read a small text file, without the newline at its end
 * @path: the file
 * @buf: where to
 * @size: its size; what does not fit is dropped
 *
 * Return: length or a negative errno.
 */
int read_file(const char *path, char *buf, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	*buf = 0;
	if (fd < 0)
		return -errno;
	n = read(fd, buf, size - 1);
	close(fd);
	if (n < 0)
		return -errno;
	buf[n] = 0;
	if (n && buf[n - 1] == '\n')
		buf[--n] = 0;
	return n;
}

/**
 * find_log - the first line of the kernel's log that has a text in it
 * @text: the text
 * @line: for the line, from the text on
 * @size: of @line
 *
 * Return: 0, or -ENOENT.
 */
int find_log(const char *text, char *line, size_t size)
{
	int fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	int err = -ENOENT;
	char rec[4096], *p;
	ssize_t n;

	/* A record a read; EPIPE says that some are gone already */
	while (err && fd >= 0 && ((n = read(fd, rec, sizeof(rec) - 1)) > 0 ||
				  (n < 0 && errno == EPIPE))) {
		if (n < 0)
			continue;
		rec[n] = 0;
		p = strstr(rec, text);
		if (p) {
			snprintf(line, size, "%s", p);
			err = 0;
		}
	}
	if (fd >= 0)
		close(fd);
	return err;
}

/**
 * find_disk - the block device of a disk, by the VMM's name for it
 * @name: the name, which is the disk's serial
 * @path: for the path of the device
 * @size: of @path
 *
 * Return: the disk's slot, which is its number for the mailbox, or -ENODEV.
 */
int find_disk(const char *name, char *path, size_t size)
{
	char file[128], serial[32], link[256];
	unsigned int addr;
	ssize_t n;
	char c;

	for (c = 'a'; c <= 'd'; c++) {
		snprintf(file, sizeof(file), "/sys/block/vd%c/serial", c);
		if (read_file(file, serial, sizeof(serial)) < 0 ||
		    strcmp(serial, name))
			continue;
		snprintf(path, size, "/dev/vd%c", c);
		snprintf(file, sizeof(file), "/sys/block/vd%c", c);
		n = readlink(file, link, sizeof(link) - 1);
		if (n < 0)
			return -errno;
		link[n] = 0;
		/* ../devices/platform/a001000.virtio/virtio1/block/vdb */
		if (!strstr(link, "platform/") ||
		    sscanf(strstr(link, "platform/"), "platform/%x.", &addr) != 1)
			return -ENODEV;
		return addr >> 12 & 0xff;
	}
	return -ENODEV;
}

/* Turns the records of /dev/kmsg (Documentation/ABI/testing/dev-kmsg) to text */
static size_t read_log(char *buf, size_t size)
{
	int fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	size_t len = 0;
	char rec[4096];
	ssize_t n;

	while (fd >= 0 && ((n = read(fd, rec, sizeof(rec) - 1)) > 0 ||
			   (n < 0 && errno == EPIPE))) {
		unsigned long long us;
		unsigned int prio;
		char *text;

		if (n < 0)
			continue;
		rec[n] = 0;
		text = strchr(rec, ';');
		if (!text || sscanf(rec, "%u,%*u,%llu", &prio, &us) != 2)
			continue;
		/* A record's further lines are its keys and values */
		text[1 + strcspn(text + 1, "\n")] = 0;
		len += snprintf(buf + len, size - len, "<%u>[%5llu.%06llu] %s\n",
				prio & 7, us / 1000000, us % 1000000, text + 1);
		if (len >= size)
			return size - 1;
	}
	if (fd >= 0)
		close(fd);
	return len;
}

static int write_log(const char *buf, size_t len)
{
	char path[32];
	size_t done = 0;
	int fd, err = 0;

	err = find_disk("log", path, sizeof(path));
	if (err < 0)
		return err;
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	err = 0;
	while (done < len) {
		ssize_t n = write(fd, buf + done, len - done);

		if (n < 0) {
			err = -errno;
			break;
		}
		done += n;
	}
	if (fsync(fd) && !err)
		err = -errno;
	close(fd);
	return err;
}

/* save_log - carry the kernel's log out */
void save_log(void)
{
	const size_t size = 1 << 20, tail = 8000;
	char *buf = malloc(size);
	size_t len;
	int err;

	if (!buf)
		return;
	len = read_log(buf, size);
	err = write_log(buf, len);
	if (err) {
		char *from = len > tail ? buf + len - tail : buf;

		box_log("no log disk: %s; the last of the kernel's log follows",
			strerror(-err));
		while (*from) {
			size_t n = strcspn(from, "\n");

			box_log("%.*s", (int)n, from);
			from += n + !!from[n];
		}
	}
	free(buf);
}

int main(int argc, char **argv)
{
	int i, err, over = 0;
	size_t g;

	bench_booted();
	mkdir("/proc", 0755);
	mkdir("/sys", 0755);
	mkdir("/dev", 0755);
	mkdir("/tmp", 0755);
	mount("proc", "/proc", "proc", 0, NULL);
	mount("sysfs", "/sys", "sysfs", 0, NULL);
	mount("dev", "/dev", "devtmpfs", 0, NULL);
	mount("debugfs", "/sys/kernel/debug", "debugfs", 0, NULL);

	err = box_open();
	if (err)
		printf("no mailbox: %s\n", strerror(-err));
	model_init();
	for (i = 1; i < argc && !over; i++) {
		for (g = 0; g < sizeof(groups) / sizeof(groups[0]); g++)
			if (!strcmp(groups[g].name, argv[i]))
				break;
		if (g == sizeof(groups) / sizeof(groups[0]))
			box_result(RESULT_FAIL, "no group '%s'", argv[i]);
		else
			over = groups[g].run(argv[i]) < 0;
	}
	save_log();
	sync();
	reboot(RB_POWER_OFF);
	return 1;
}
