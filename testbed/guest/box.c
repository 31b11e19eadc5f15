// SPDX-License-Identifier: GPL-2.0
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "box.h"

static volatile char *regs;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/*
 * Not left to the compiler: an access with writeback, or of a pair, is one
 * that the hypervisor cannot decode (ESR_EL2.ISV is 0).
 */
static uint64_t reg_read(unsigned int reg)
{
	uint64_t val;

	__asm__ volatile("ldr %0, [%1]" : "=r"(val) : "r"(regs + reg) : "memory");
	return val;
}

static void reg_write(unsigned int reg, uint64_t val)
{
	__asm__ volatile("str %0, [%1]" :: "r"(val), "r"(regs + reg) : "memory");
}

/* box_open - Return: 0 or a negative errno; -ENODEV if there is no mailbox */
int box_open(void)
{
	int fd;

	if (regs)
		return 0;
	fd = open("/dev/mem", O_RDWR | O_SYNC | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	regs = mmap(NULL, MAILBOX_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
		    MAILBOX_BASE);
	close(fd);
	if (regs == MAP_FAILED) {
		regs = NULL;
		return -errno;
	}
	if (reg_read(MAILBOX_MAGIC) == MAILBOX_MAGIC_VALUE)
		return 0;
	munmap((void *)regs, MAILBOX_SIZE);
	regs = NULL;
	return -ENODEV;
}

/**
 * box_command - have the VMM do something
 * @command: enum mailbox_command
 * @args: the command's words
 * @nr_args: how many
 * @text: text after the words, or NULL
 * @answer: for the answer's words
 * @max_words: how many fit; the rest of the answer is dropped
 *
 * Return: words of the answer, or a negative errno, which may be the VMM's.
 */
int box_command(int command, const uint64_t *args, size_t nr_args,
		const char *text, uint64_t *answer, size_t max_words)
{
	size_t i, len = text ? strlen(text) : 0, words;
	int64_t status;

	if (!regs)
		return -ENODEV;
	/* One command at a time: the mailbox does not know the threads apart */
	pthread_mutex_lock(&lock);
	for (i = 0; i < nr_args; i++)
		reg_write(MAILBOX_DATA, args[i]);
	for (i = 0; i < len; i += 8) {
		uint64_t word = 0;

		memcpy(&word, text + i, len - i < 8 ? len - i : 8);
		reg_write(MAILBOX_DATA, word);
	}
	reg_write(MAILBOX_COMMAND, command);
	status = reg_read(MAILBOX_STATUS);
	words = status || !max_words ? 0 : reg_read(MAILBOX_COUNT);
	if (words > max_words)
		words = max_words;
	for (i = 0; i < words; i++)
		answer[i] = reg_read(MAILBOX_DATA);
	pthread_mutex_unlock(&lock);
	return status ? status : (int64_t)words;
}

/**
 * box_audit - which pages can the host see now?
 * @addr: guest physical address, 0 for all memory
 * @bytes: length, 0 for the rest of memory
 * @visible: for the number of visible pages
 * @ranges: for the ranges of visible pages, ascending, none touching another
 * @max_ranges: how many fit; more is -E2BIG
 *
 * Return: number of ranges or a negative errno.
 */
int box_audit(uint64_t addr, uint64_t bytes, uint64_t *visible,
	      struct box_range *ranges, size_t max_ranges)
{
	uint64_t args[2] = { addr, bytes }, answer[2 + 256];
	int n, i;

	n = box_command(MAILBOX_AUDIT, args, 2, NULL, answer, 2 + 256);
	if (n < 0)
		return n;
	if (n < 2)
		return -EIO;
	if (n == 2 + 256 || (size_t)n - 2 > max_ranges)
		return -E2BIG;
	if (visible)
		*visible = answer[0];
	for (i = 0; i < n - 2; i++) {
		ranges[i].addr = MAILBOX_RANGE_ADDR(answer[i + 2]);
		ranges[i].pages = MAILBOX_RANGE_PAGES(answer[i + 2]);
	}
	return n - 2;
}

/* box_map - have the host print what it sees, and whose it is */
int box_map(const char *name)
{
	uint64_t args[2] = { 0, 0 };

	return box_command(MAILBOX_MAP, args, 2, name, NULL, 0);
}

/* box_owner - name the owner of a range; an empty name forgets it */
int box_owner(uint64_t addr, uint64_t bytes, const char *name)
{
	uint64_t args[2] = { addr, bytes };

	return box_command(MAILBOX_OWNER, args, 2, name, NULL, 0);
}

/* Cuts what is too long for one command */
static void say(int command, const uint64_t *args, size_t nr_args,
		const char *fmt, va_list ap)
{
	char text[1024];

	vsnprintf(text, sizeof(text), fmt, ap);
	if (box_command(command, args, nr_args, text, NULL, 0) < 0)
		printf("%s\n", text);
}

/* box_log - say a line on the host's console; on the UART without a mailbox */
void box_log(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say(MAILBOX_LOG, NULL, 0, fmt, ap);
	va_end(ap);
}

/* box_result - one test's result */
void box_result(enum result result, const char *fmt, ...)
{
	uint64_t arg = result;
	va_list ap;

	va_start(ap, fmt);
	say(MAILBOX_RESULT, &arg, 1, fmt, ap);
	va_end(ap);
}

/**
 * box_search - how much of a canary can the host see?
 * @canary: what to look for
 * @addr: guest physical address, 0 for all memory
 * @bytes: length, 0 for the rest of memory
 * @pages: for the number of pages that hold some of it
 * @first: for the first range of them
 *
 * Return: bytes or a negative errno.
 */
long box_search(uint64_t canary, uint64_t addr, uint64_t bytes, uint64_t *pages,
		struct box_range *first)
{
	uint64_t args[3] = { canary, addr, bytes }, answer[3] = { 0 };
	int n = box_command(MAILBOX_SEARCH, args, 3, NULL, answer, 3);

	if (n < 0)
		return n;
	*pages = answer[0];
	first->addr = MAILBOX_RANGE_ADDR(answer[2]);
	first->pages = MAILBOX_RANGE_PAGES(answer[2]);
	return answer[1];
}

/**
 * box_watch - have a thread of the host's look for a canary while we run
 * @canary: what to look for, 0 to end it
 * @addr, @bytes: where to look most of the time
 * @seen: for what it has seen of the canary before
 *
 * Return: 0 or a negative errno; -ENODEV if the host has one processor.
 */
int box_watch(uint64_t canary, uint64_t addr, uint64_t bytes, struct box_watch *seen)
{
	uint64_t args[3] = { canary, addr, bytes }, answer[5];
	int n = box_command(MAILBOX_WATCH, args, 3, NULL, answer, 5);

	if (n < 0)
		return n;
	if (n < 5)
		return -EIO;
	*seen = (struct box_watch){ answer[0], answer[1], answer[2], answer[3], answer[4] };
	return 0;
}
