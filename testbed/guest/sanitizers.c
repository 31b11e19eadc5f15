// SPDX-License-Identifier: GPL-2.0
/*
 * Are the kernel's sanitizers at work, and what have those found that do not
 * speak up by themselves?  To be run last.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "box.h"
#include "tests.h"

#define KMEMLEAK	"/sys/kernel/debug/kmemleak"

/* write_to - write a word to a file of the kernel's, or log why not */
void write_to(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		box_log("%s: %s", path, strerror(errno));
	if (fd >= 0)
		close(fd);
}

/* shrink_caches - have all memory free that is: KASAN, for one, keeps for a while what has been freed */
void shrink_caches(void)
{
	DIR *dir = opendir("/sys/kernel/slab");
	struct dirent *e;
	char path[320];

	while (dir && (e = readdir(dir))) {
		snprintf(path, sizeof(path), "/sys/kernel/slab/%s/shrink", e->d_name);
		if (!access(path, W_OK))
			write_to(path, "1");
	}
	if (dir)
		closedir(dir);
	write_to("/proc/sys/vm/drop_caches", "3");
}

static int has_line(const char *path, const char *want)
{
	char line[256];
	FILE *f = fopen(path, "re");
	int found = 0;

	while (f && !found && fgets(line, sizeof(line), f)) {
		char *p = strstr(line, want);

		/* 'debug_locks:    1' and the like: the number is what counts */
		found = p && atoi(p + strlen(want));
	}
	if (f)
		fclose(f);
	return found;
}

static const char *dead_sanitizer(void)
{
	char buf[64], line[256];
	bool faults = !find_log("testbed: fault: ", line, sizeof(line));

	if (find_log("KernelAddressSanitizer initialized", line, sizeof(line)))
		return "KASAN";
	if (!has_line("/proc/lockdep_stats", "debug_locks:"))
		return "lockdep";
	/* It ends when an allocation of its own fails */
	if (read_file("/sys/kernel/debug/dma-api/disabled", buf, sizeof(buf)) <= 0 ||
	    (*buf != 'N' && !faults))
		return "DMA_API_DEBUG";
	if (access(KMEMLEAK, R_OK | W_OK))
		return "kmemleak";
	return NULL;
}

static int scan(void)
{
	int fd = open(KMEMLEAK, O_WRONLY | O_CLOEXEC), err = 0;

	if (fd < 0 || write(fd, "scan", 4) != 4)
		err = -errno;
	if (fd >= 0)
		close(fd);
	return err;
}

/* What looks lost at first is often on its way somewhere */
static int count_leaks(void)
{
	char line[256];
	int n = 0, err;
	FILE *f;

	err = scan();
	sleep(6);
	if (!err)
		err = scan();
	f = err ? NULL : fopen(KMEMLEAK, "re");
	if (!f)
		return err ?: -errno;
	while (fgets(line, sizeof(line), f)) {
		n += !strncmp(line, "unreferenced object", 19);
		line[strcspn(line, "\n")] = 0;
		box_log("%s", line);
	}
	fclose(f);
	return n;
}

/* test_sanitizers - see above */
int test_sanitizers(const char *group)
{
	const char *dead = dead_sanitizer();
	char buf[32];
	int leaks, errors;

	(void)group;
	if (dead) {
		box_result(RESULT_FAIL, "sanitizers: %s is not, or no longer, at work", dead);
		return 1;
	}
	leaks = count_leaks();
	errors = read_file("/sys/kernel/debug/dma-api/error_count", buf, sizeof(buf)) > 0 ?
		 atoi(buf) : -1;
	if (leaks || errors)
		box_result(RESULT_FAIL, "sanitizers: %d leaks, %d errors of the DMA API", leaks, errors);
	else
		box_result(RESULT_OK, "sanitizers: all at work to the end, no leak, no error of the DMA API");
	return leaks || errors;
}
