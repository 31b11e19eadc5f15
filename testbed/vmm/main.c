// SPDX-License-Identifier: GPL-2.0
/*
 * The host's whole user space: /init, process 1.  Starts the guest that
 * /guest/vmm.conf describes, says how it ended, and switches the host off.
 *
 * vmm.conf has one setting a line:
 *
 *	mem MB			guest memory, 64 to 4096, default 64
 *	smp N			vcpus, 1 to MAX_VCPUS, default 1
 *	timeout SECONDS		for the guest, default 60
 *	unprotected		start an ordinary guest, for comparison
 *	memlock KB		be allowed to give the guest only so much memory
 *	image|dtb|initrd PATH	default /guest/Image, /guest/dtb, /guest/initrd
 *	disk NAME SECTORS	virtio-blk, in the order of the slots
 *	log NAME		print the text on this disk at the end
 *	owner ADDR BYTES NAME	whose memory that is, for the page map
 *
 * The last line is the verdict:
 *
 *	verdict: status N passed N failed N skipped N guest-ms N
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>

#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <termios.h>
#include <unistd.h>

#include "vmm.h"

static struct {
	unsigned int mem, smp, timeout;
	long memlock;
	bool protected;
	char image[128], dtb[128], initrd[128];
	unsigned int disks;
	unsigned int log;	/* number of the disk + 1 */
} conf = {
	.mem = 64, .smp = 1, .timeout = 60, .memlock = -1, .protected = true,
	.image = "/guest/Image", .dtb = "/guest/dtb", .initrd = "/guest/initrd",
};

static struct {
	char name[32];
	uint64_t sectors;
} disks[MAX_DISKS];

static int read_setting(char *line)
{
	unsigned long long addr, bytes;
	unsigned int block = 512, segments = 0;
	char name[128];
	unsigned int i;

	if (sscanf(line, "mem %u", &conf.mem) == 1)
		return conf.mem < 64 || conf.mem > 4096;
	if (sscanf(line, "smp %u", &conf.smp) == 1)
		return conf.smp < 1 || conf.smp > MAX_VCPUS;
	if (sscanf(line, "timeout %u", &conf.timeout) == 1 ||
	    sscanf(line, "memlock %ld", &conf.memlock) == 1 ||
	    sscanf(line, "image %127s", conf.image) == 1 ||
	    sscanf(line, "dtb %127s", conf.dtb) == 1 ||
	    sscanf(line, "initrd %127s", conf.initrd) == 1)
		return 0;
	if (!strcmp(line, "unprotected")) {
		conf.protected = false;
		return 0;
	}
	if (sscanf(line, "disk %31s %llu %u %u", name, &bytes, &block,
		   &segments) >= 2) {
		if (conf.disks == MAX_DISKS)
			return 1;
		strcpy(disks[conf.disks].name, name);
		disks[conf.disks].sectors = bytes;
		return disk_init(conf.disks++, name, bytes, block, segments) < 0;
	}
	if (sscanf(line, "log %31s", name) == 1) {
		for (i = 0; i < conf.disks; i++)
			if (!strcmp(disks[i].name, name))
				conf.log = i + 1;
		return !conf.log;
	}
	if (sscanf(line, "owner %lli %lli %127[^\n]", &addr, &bytes, name) == 3)
		return owner_add(name, addr, bytes);
	return *line && *line != '#';
}

static int read_conf(const char *path)
{
	FILE *f = fopen(path, "re");
	char line[256];
	int err = 0;

	if (!f) {
		report("%s: %s", path, strerror(errno));
		return -1;
	}
	while (!err && fgets(line, sizeof(line), f)) {
		line[strcspn(line, "\n")] = 0;
		err = read_setting(line);
		if (err)
			report("%s: cannot use '%s'", path, line);
	}
	fclose(f);
	return err ? -1 : 0;
}

/* Says what the host's kernel says of pKVM, or why there is no guest */
static bool host_is_protected(void)
{
	int fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	bool found = false;
	char rec[2048], *text;
	ssize_t n;

	/* One record a read; a record that is gone already gives EPIPE */
	while (fd >= 0 && ((n = read(fd, rec, sizeof(rec) - 1)) > 0 ||
			   (n < 0 && errno == EPIPE))) {
		if (n < 0)
			continue;
		rec[n] = 0;
		rec[strcspn(rec, "\n")] = 0;
		text = strchr(rec, ';');
		if (!text || !strstr(text, "kvm ["))
			continue;
		if (strstr(text, "Protected") &&
		    strstr(text, "mode initialized successfully")) {
			found = true;
			report("host: %s", text + 1);
		} else if (strstr(text, "HYP") || strstr(text, "mode init")) {
			report("host: %s", text + 1);
		}
	}
	if (fd >= 0)
		close(fd);
	return found;
}

/* Makes the host's kernel refuse the guest memory beyond @kb */
static int limit_memory(long kb)
{
	struct __user_cap_header_struct h = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct rlimit limit = { kb * 1024, kb * 1024 };
	struct __user_cap_data_struct d[2];

	if (syscall(SYS_capget, &h, d))
		return -errno;
	/* Who has it is not limited */
	d[0].effective &= ~(1U << CAP_IPC_LOCK);
	d[0].permitted &= ~(1U << CAP_IPC_LOCK);
	if (setrlimit(RLIMIT_MEMLOCK, &limit) || syscall(SYS_capset, &h, d))
		return -errno;
	return 0;
}

static int load(uint64_t offset, const char *path)
{
	int err = memory_load(RAM_BASE + offset, path);

	if (err)
		report("%s: %s", path, err == -ENOSPC ?
		       "does not fit the guest's memory" : strerror(-err));
	return err;
}

static enum status run(void)
{
	struct rlimit unlimited = { RLIM_INFINITY, RLIM_INFINITY };
	struct stat st;
	int err;

	if (uart_init() || mailbox_init() || read_conf("/guest/vmm.conf"))
		return STATUS_SETUP;
	if (!host_is_protected() && conf.protected) {
		report("the host runs without protected mode: no protected guest on it");
		return STATUS_SETUP;
	}
	if (setrlimit(RLIMIT_MEMLOCK, &unlimited))
		report("RLIMIT_MEMLOCK: %s", strerror(errno));
	err = memory_init(RAM_BASE, (uint64_t)conf.mem << 20);
	if (err) {
		report("%u MB of guest memory: %s", conf.mem, strerror(-err));
		return STATUS_SETUP;
	}
	if (!stat(conf.image, &st) && (uint64_t)st.st_size > DTB_OFFSET) {
		report("%s: larger than %lu MB", conf.image, DTB_OFFSET >> 20);
		return STATUS_SETUP;
	}
	if (load(0, conf.image) || load(DTB_OFFSET, conf.dtb) ||
	    load(INITRD_OFFSET, conf.initrd))
		return STATUS_SETUP;
	if (vm_create(conf.smp, conf.protected))
		return STATUS_SETUP;
	if (conf.memlock >= 0) {
		err = limit_memory(conf.memlock);
		if (err) {
			report("memlock: %s", strerror(-err));
			return STATUS_SETUP;
		}
	}
	report("%sprotected guest: %u MB, %u vcpu%s, time-out %u s",
	       conf.protected ? "" : "un", conf.mem, conf.smp,
	       conf.smp > 1 ? "s" : "", conf.timeout);
	return vm_run(RAM_BASE, RAM_BASE + DTB_OFFSET, conf.timeout);
}

/* guest_log - pass on what the guest has written on its log disk, and wipe that */
void guest_log(void)
{
	char *text;
	uint64_t sectors;

	if (!conf.log)
		return;
	sectors = disks[conf.log - 1].sectors;
	text = disk_data(disk_get(conf.log - 1), 0, sectors);
	/* It ends with the first zero */
	report_text("log", text, strnlen(text, sectors * 512));
	memset(text, 0, strnlen(text, sectors * 512));
}

int main(void)
{
	unsigned int passed, failed, skipped;
	uint64_t start = now_us();
	enum status status;
	int console;

	mkdir("/proc", 0755);
	mkdir("/sys", 0755);
	mkdir("/dev", 0755);
	mount("proc", "/proc", "proc", 0, NULL);
	mount("sysfs", "/sys", "sysfs", 0, NULL);
	mount("dev", "/dev", "devtmpfs", 0, NULL);
	console = open("/dev/console", O_RDWR);
	if (console >= 0) {
		dup2(console, STDOUT_FILENO);
		dup2(console, STDERR_FILENO);
	}
	status = run();
	mailbox_totals(&passed, &failed, &skipped);
	if (status == STATUS_PASS && failed)
		status = STATUS_FAIL;
	guest_log();
	printf("verdict: status %d passed %u failed %u skipped %u guest-ms %"
	       PRIu64 "\n", status, passed, failed, skipped,
	       (now_us() - start) / 1000);
	fflush(stdout);
	tcdrain(STDOUT_FILENO);
	/* Do not let the host's kernel spend time on taking the guest apart */
	reboot(RB_POWER_OFF);
	for (;;)
		pause();
}
