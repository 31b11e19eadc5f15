// SPDX-License-Identifier: GPL-2.0
/*
 * The kernel's own selftests, installed by their own 'make install' in
 * /kselftest (testbed/kselftest does it) and run by their own runner.  Its TAP
 * is passed on line by line; each test case in it is a result.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "model.h"
#include "tests.h"

#define RUNNER	"/kselftest/run_kselftest.sh"

static const char *after(const char *text, const char *start)
{
	size_t len = strlen(start);

	return strncmp(text, start, len) ? NULL : text + len;
}

/*
 * "ok 3 disk.read" or "not ok 3 disk.read", and then nothing, "# SKIP why" or
 * "#  why".  Return: whether it is one.
 */
static bool parse_result(const char *line, enum result *result, char *name,
			 size_t size, const char **why)
{
	const char *p = after(line, "ok ");
	size_t len;

	*result = RESULT_OK;
	if (!p) {
		*result = RESULT_FAIL;
		p = after(line, "not ok ");
	}
	if (!p || strspn(p, "0123456789") == 0)
		return false;
	p += strspn(p, "0123456789 ");
	len = strcspn(p, "#");
	*why = p + len + strspn(p + len, "# ");
	if (after(*why, "SKIP")) {
		if (*result == RESULT_OK)
			*result = RESULT_SKIP;
		*why += 4 + strspn(*why + 4, " ");
	}
	while (len && p[len - 1] == ' ')
		len--;
	snprintf(name, size, "%.*s", (int)len, p);
	return true;
}

/* Return: how many test cases failed; @cases is how many there were */
static int follow(FILE *tap, int *cases)
{
	char line[1024], name[128];
	int failed = 0, inner = 0;
	const char *why, *p;
	enum result result;

	while (fgets(line, sizeof(line), tap)) {
		line[strcspn(line, "\r\n")] = 0;
		box_log("%s", line);
		/* The runner puts '# ' before the lines of a test */
		p = after(line, "# ");
		if (!parse_result(p ? p : line, &result, name, sizeof(name), &why))
			continue;
		if (p) {
			(*cases)++;
			inner += result == RESULT_FAIL;
			box_result(result, "kselftest %s%s%s", name,
				   *why ? ": " : "", why);
			continue;
		}
		/* A whole program: news only if it did not come to its own end */
		if (result == RESULT_FAIL && !inner) {
			box_result(RESULT_FAIL, "kselftest %s: %s", name, why);
			failed++;
		}
		failed += inner;
		inner = 0;
	}
	return failed;
}

/* A pool that the tests have had a device attached to is shared from then on */
static int compare(void)
{
	static const char *const names[] = { "disks", "pair", "noncoherent" };
	size_t i;

	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (pool_used(names[i]) >= 0)
			model_share(names[i]);
	if (!model_compare("after kselftest"))
		return 0;
	box_result(RESULT_FAIL, "kselftest: the host does not see what it should");
	return 1;
}

/*
 * A terminal and no pipe: the runner's tools then write line by line, and what
 * a test has said before it hangs is not lost.
 */
static int open_terminal(int *user)
{
	int master;

	mkdir("/dev/pts", 0755);
	if (mount("devpts", "/dev/pts", "devpts", 0, "ptmxmode=0666") && errno != EBUSY)
		return -1;
	master = posix_openpt(O_RDWR | O_NOCTTY);
	if (master < 0 || grantpt(master) || unlockpt(master))
		return -1;
	*user = open(ptsname(master), O_RDWR | O_NOCTTY);
	return *user < 0 ? -1 : master;
}

/* test_kselftest - run the kernel's selftests that are installed */
int test_kselftest(const char *group)
{
	int master, user, failed, status, cases = 0;
	char disk[32];
	pid_t pid;
	FILE *tap;

	(void)group;
	if (access(RUNNER, F_OK)) {
		box_result(RESULT_SKIP, "kselftest: no " RUNNER " in the initramfs");
		return 0;
	}
	/* system() and popen() want /bin/sh, the runner the usual tools */
	if (symlink("busybox", "/bin/sh") && errno != EEXIST)
		box_log("/bin/sh: %s", strerror(errno));
	status = system("exec /bin/busybox --install -s /bin");
	if (status) {
		box_result(RESULT_FAIL, "kselftest: no shell: %d", status);
		return 1;
	}
	if (find_disk("data", disk, sizeof(disk)) >= 0)
		setenv("DMA_TEST_WRITE_DISK", disk, 1);
	setenv("PATH", "/bin", 1);
	/* The runner writes there, and devtmpfs does not have it */
	if (symlink("/proc/self/fd/1", "/dev/stdout") && errno != EEXIST)
		box_log("/dev/stdout: %s", strerror(errno));
	master = open_terminal(&user);
	if (master < 0) {
		box_result(RESULT_FAIL, "kselftest: no terminal: %s", strerror(errno));
		return 1;
	}
	pid = fork();
	if (!pid) {
		dup2(user, 1);
		dup2(user, 2);
		close(master);
		close(user);
		execl("/bin/sh", "sh", RUNNER, NULL);
		_exit(127);
	}
	close(user);
	/* Ends with EIO when nobody has the other end open any more */
	tap = fdopen(master, "r");
	failed = follow(tap, &cases);
	fclose(tap);
	if (pid < 0 || waitpid(pid, &status, 0) != pid || status) {
		box_result(RESULT_FAIL, "kselftest: the runner failed");
		failed++;
	} else if (!cases) {
		box_result(RESULT_FAIL, "kselftest: the runner ran nothing");
		failed++;
	}
	return failed + compare();
}
