// SPDX-License-Identifier: GPL-2.0
/*
 * A second kernel, the same as this one, started in its place or by its panic.
 * It runs the groups that follow on the command line.  What this kernel has
 * shared must be private by then, except for what the second one shares, too.
 * After a panic it stays as it is, for the devices that still work on it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/kexec.h>
#include <linux/reboot.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../driver/testbed.h"
#include "model.h"
#include "tests.h"

/* testbed/run has put them there */
#define IMAGE	"/second/Image"
#define INITRD	"/second/initrd"

/*
 * The command line up to '--', without the memory that a crash kernel is in,
 * then the groups that follow @group.  Return: 0, or -ENOENT if none does.
 */
static int second_command_line(const char *group, char *line, size_t size)
{
	char first[2048], after[64], *args, *rest, *word, *save;
	size_t len = 0;

	snprintf(after, sizeof(after), " %s ", group);
	if (read_file("/proc/cmdline", first, sizeof(first)) < 0 ||
	    !(args = strstr(first, " -- ")) || !(rest = strstr(args, after)))
		return -ENOENT;
	*args = 0;
	rest += strlen(after);
	for (word = strtok_r(first, " ", &save); word; word = strtok_r(NULL, " ", &save))
		if (strncmp(word, "crashkernel=", 12))
			len += snprintf(line + len, size - len, "%s ", word);
	snprintf(line + len, size - len, "-- second %s", rest);
	return 0;
}

/*
 * Memory that is shared when the kernel ends, and that nobody gives back: what
 * the pools for atomic allocations have grown by, and a driver's own.
 */
static int hold_memory(void)
{
	int err = load_module("/testbed.ko"), fd;
	struct testbed_op op = { 0 };

	if (err)
		return err;
	/* The driver has brought the devices to their pools */
	model_share("pair");
	model_share("noncoherent");
	model_region("own");
	/* And those without one have brought the pools for atomic allocations */
	if (model_compare("with the driver"))
		return -EBADE;
	fd = open("/dev/testbed-plain-64", O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	for (op.slot = 0; op.slot < 5; op.slot++) {
		op.kind = TESTBED_COHERENT;
		op.size = op.slot ? 256 << 10 : 4 << 10;
		op.flags = op.slot ? 0 : TESTBED_ATOMIC;
		if (ioctl(fd, TESTBED_IOC_GET, &op))
			return -errno;
		model_hold(op.dma[0], op.size);
		box_owner(op.dma[0], op.size, "the first kernel's driver");
	}
	/* The devices stay open, and their memory theirs, until the kernel ends */
	return 0;
}

/*
 * A request that the host holds: the device still has it when the kernel ends.
 * Return: 0 or a negative errno.
 */
static int hold_request(void)
{
	struct timespec ms = { 0, 1000000 };
	char path[32], file[64], inflight[64];
	uint64_t args[2] = { 0, 1 };
	unsigned int reads = 0;
	int slot, err, fd;

	slot = find_disk("data", path, sizeof(path));
	if (slot < 0)
		return slot;
	args[0] = slot;
	err = box_command(MAILBOX_DISK_HOLD, args, 2, NULL, NULL, 0);
	if (err)
		return err;
	if (!fork()) {
		void *buf = aligned_alloc(4096, 64 << 10);

		fd = open(path, O_RDONLY | O_DIRECT | O_CLOEXEC);
		_exit(fd < 0 || pread(fd, buf, 64 << 10, 0) < 0);
	}
	snprintf(file, sizeof(file), "/sys/block/%s/inflight", path + strlen("/dev/"));
	while (!reads && !waitpid(-1, NULL, WNOHANG)) {
		nanosleep(&ms, NULL);
		if (read_file(file, inflight, sizeof(inflight)) > 0)
			sscanf(inflight, "%u", &reads);
	}
	return reads ? 0 : -EIO;
}

static int load_second(const char *group, unsigned long flags)
{
	int image = open(IMAGE, O_RDONLY | O_CLOEXEC);
	int initrd = open(INITRD, O_RDONLY | O_CLOEXEC);
	char line[2048];
	int err = 0;

	if (image < 0 || initrd < 0)
		return -errno;
	err = second_command_line(group, line, sizeof(line));
	if (!err && syscall(SYS_kexec_file_load, image, initrd,
			    strlen(line) + 1, line, flags))
		err = -errno;
	close(image);
	close(initrd);
	return err;
}

static int announce(enum mailbox_kernel what)
{
	uint64_t arg = what;

	return box_command(MAILBOX_KERNEL, &arg, 1, NULL, NULL, 0);
}

/**
 * test_kexec - end this kernel and have a second one run the rest
 * @group: kexec, or crash: by a panic
 *
 * Return: -1, if the second one could not be started.
 */
int test_kexec(const char *group)
{
	bool crash = !strcmp(group, "crash");
	int err;

	err = load_second(group, crash ? KEXEC_FILE_ON_CRASH : 0);
	if (err) {
		box_result(err == -ENOSYS ? RESULT_SKIP : RESULT_FAIL,
			   "%s: the second kernel cannot be loaded: %s", group,
			   strerror(-err));
		return -1;
	}
	err = hold_memory();
	if (err || model_compare("at the first kernel's end")) {
		box_result(RESULT_FAIL, "%s: the first kernel's memory: %s", group,
			   err ? strerror(-err) : "not as it should be");
		return -1;
	}
	box_map("at the first kernel's end");
	save_log();
	err = hold_request();
	if (!err)
		err = announce(crash ? KERNEL_COMES_BY_PANIC : KERNEL_COMES_NEXT);
	if (!err && crash)
		_exit(1);
	if (!err && syscall(SYS_reboot, LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2,
			    LINUX_REBOOT_CMD_KEXEC, NULL))
		err = -errno;
	box_result(RESULT_FAIL, "%s: the first kernel does not end: %s", group,
		   strerror(-err));
	return -1;
}

/* Names the memory of this kernel's image, which nobody else may see */
static void name_image(void)
{
	static const char *const parts[] = { "Kernel code", "Kernel data" };
	uint64_t from, to;
	char line[256];
	size_t i;
	FILE *f = fopen("/proc/iomem", "re");

	while (f && fgets(line, sizeof(line), f))
		for (i = 0; i < 2; i++)
			if (strstr(line, parts[i]) &&
			    sscanf(line, " %" SCNx64 "-%" SCNx64, &from, &to) == 2)
				box_owner(from, to + 1 - from, parts[i]);
	if (f)
		fclose(f);
}

/* test_second - this is the kernel that was to come */
int test_second(const char *group)
{
	int err = announce(KERNEL_IS_HERE);

	(void)group;
	if (err) {
		box_result(RESULT_FAIL, "second: no other kernel was before this one: %s",
			   strerror(-err));
		return 1;
	}
	name_image();
	box_result(RESULT_OK, "second: %s", access("/proc/vmcore", F_OK) ?
		   "the kernel that kexec has started is here" :
		   "the kernel that a panic has started is here");
	return 0;
}
