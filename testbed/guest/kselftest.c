// SPDX-License-Identifier: GPL-2.0
/*
 * The kernel's own selftests, installed by their own 'make install' in
 * /kselftest and run by their own runner; each 'ok' and 'not ok' line of the
 * runner is a result.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "box.h"
#include "tests.h"

#define RUNNER	"/kselftest/run_kselftest.sh"

/* Return: 1 if the line says that a test has failed, else 0; @ran counts tests */
static int read_line(const char *line, unsigned int *ran)
{
	const char *name;
	int n = 0;

	if (sscanf(line, "ok %*u selftests: %n", &n) != EOF && n) {
		name = line + n;
		box_result(strstr(name, "# SKIP") ? RESULT_SKIP : RESULT_OK,
			   "kselftest %s", name);
		++*ran;
		return 0;
	}
	if (sscanf(line, "not ok %*u selftests: %n", &n) != EOF && n) {
		box_result(RESULT_FAIL, "kselftest %s", line + n);
		++*ran;
		return 1;
	}
	/* What the tests themselves say */
	box_log("%s", line);
	return 0;
}

/* test_kselftest - Return: how many tests failed */
int test_kselftest(const char *group)
{
	unsigned int ran = 0;
	int failed = 0, status;
	char line[512];
	FILE *f;

	(void)group;
	if (access(RUNNER, F_OK)) {
		box_result(RESULT_SKIP, "kselftest: no " RUNNER " in the initramfs");
		return 0;
	}
	mkdir("/usr", 0755);
	mkdir("/usr/bin", 0755);
	/* system() and popen() want /bin/sh, the runner the usual tools */
	if (symlink("busybox", "/bin/sh") && errno != EEXIST)
		box_log("/bin/sh: %s", strerror(errno));
	status = system("exec /bin/busybox --install -s /bin");
	if (status) {
		box_result(RESULT_FAIL, "kselftest: no shell: %d", status);
		return 1;
	}
	setenv("PATH", "/bin", 1);
	f = popen("cd /kselftest && exec ./run_kselftest.sh 2>&1", "r");
	if (!f) {
		box_result(RESULT_FAIL, "kselftest: %s", strerror(errno));
		return 1;
	}
	while (fgets(line, sizeof(line), f)) {
		line[strcspn(line, "\n")] = 0;
		failed += read_line(line, &ran);
	}
	pclose(f);
	if (!ran) {
		box_result(RESULT_FAIL, "kselftest: the runner ran nothing");
		failed++;
	}
	return failed;
}
