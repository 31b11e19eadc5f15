// SPDX-License-Identifier: GPL-2.0
/*
 * What the VMM says, all of it on the host's console, one prefix a speaker:
 *
 *	vmm: ...	the VMM itself
 *	map: ...	the page map of an audit
 *	uart: ...	a line from the guest's UART
 *	due: ...	the same, of the panic that a test has asked for
 *	guest: ...	a line from the guest's programs, through the mailbox
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "vmm.h"

struct owner {
	char name[128];
	uint64_t addr, bytes;
};

static struct owner owners[MAX_OWNERS];
static size_t nr_owners;

/* now_us - microseconds since the host's boot */
uint64_t now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_BOOTTIME, &ts);
	return ts.tv_sec * 1000000ULL + ts.tv_nsec / 1000;
}

/* report - say one line; written at once so that threads do not mix theirs */
void report(const char *fmt, ...)
{
	uint64_t us = now_us();
	char line[1024];
	va_list ap;
	int n, m;

	n = snprintf(line, sizeof(line), "vmm: [%3" PRIu64 ".%03" PRIu64 "] ",
		     us / 1000000, us / 1000 % 1000);
	va_start(ap, fmt);
	m = vsnprintf(line + n, sizeof(line) - n - 1, fmt, ap);
	va_end(ap);
	n = (size_t)(n + m) < sizeof(line) - 1 ? n + m : (int)sizeof(line) - 2;
	line[n++] = '\n';
	if (write(STDOUT_FILENO, line, n) < 0)
		return;		/* there is nowhere else to say it */
}

/* report_text - pass on somebody else's text, line by line */
void report_text(const char *prefix, const char *text, size_t len)
{
	while (len) {
		const char *end = memchr(text, '\n', len);
		size_t n = end ? (size_t)(end - text) : len;

		printf("%s: %.*s\n", prefix, (int)n, text);
		n += !!end;
		text += n;
		len -= n;
	}
	fflush(stdout);
}

/**
 * owner_add - name the owner of a range, or give it a new name
 * @name: up to 127 characters; empty: forget the range
 * @addr: guest physical address
 * @bytes: length
 *
 * Return: 0, or -1 if there is no room for more or no such range.
 */
int owner_add(const char *name, uint64_t addr, uint64_t bytes)
{
	struct owner *o;

	if (addr + bytes < addr)
		return -1;
	for (o = owners; o < owners + nr_owners; o++)
		if (o->addr == addr && o->bytes == bytes)
			break;
	if (!*name) {
		if (o < owners + nr_owners)
			*o = owners[--nr_owners];
		return 0;
	}
	if (o == owners + MAX_OWNERS)
		return -1;
	if (o == owners + nr_owners)
		nr_owners++;
	snprintf(o->name, sizeof(o->name), "%s", name);
	o->addr = addr;
	o->bytes = bytes;
	return 0;
}

/**
 * owner_name - who owns the page at an address
 * @addr: guest physical address
 * @end: where the answer stops being true, may be NULL
 *
 * Return: the name, or NULL if nobody has named this page.  Of owners that
 * overlap, the smallest, as the guest names parts of what the device tree does.
 */
const char *owner_name(uint64_t addr, uint64_t *end)
{
	uint64_t stop = UINT64_MAX;
	const struct owner *o, *best = NULL;

	for (o = owners; o < owners + nr_owners; o++) {
		if (addr >= o->addr && addr - o->addr < o->bytes) {
			if (!best || o->bytes < best->bytes)
				best = o;
			if (o->addr + o->bytes < stop)
				stop = o->addr + o->bytes;
		} else if (o->addr > addr && o->addr < stop) {
			stop = o->addr;
		}
	}
	if (end)
		*end = stop;
	return best ? best->name : NULL;
}

/* report_map - print an audit: what is visible, in which ranges, whose it is */
void report_map(const struct audit *audit, const char *title)
{
	size_t i;

	printf("map: %s: the host sees %" PRIu64 " of the guest's %" PRIu64
	       " pages (VmLck %" PRIu64 "%s), found in %" PRIu64 " ms\n",
	       title, audit->visible, audit->owned, audit->locked,
	       audit->locked == audit->owned ? "" : ", NOT the same",
	       audit->us / 1000);
	for (i = 0; i < audit->nr_ranges; i++) {
		uint64_t addr = audit->ranges[i].addr, next;
		uint64_t end = addr + audit->ranges[i].pages * PAGE_SIZE;

		for (; addr < end; addr = next) {
			const char *name = owner_name(addr, &next);

			if (next > end)
				next = end;
			next = (next + PAGE_SIZE - 1) & ~(PAGE_SIZE - 1);
			printf("map:   %010" PRIx64 "-%010" PRIx64
			       " %6" PRIu64 " pages  %s\n", addr, next - 1,
			       (next - addr) / PAGE_SIZE,
			       name ? name : "nobody has named these");
		}
	}
	fflush(stdout);
}

/* report_private - a device has met a page that it cannot reach */
void report_private(const struct device *dev, const char *what, uint64_t addr,
		    const char *access, const char *why)
{
	const char *name = owner_name(addr, NULL);

	report("private page: %s, %s of %s at %#" PRIx64 " (%s): %s",
	       dev->name, access, what, addr,
	       name ? name : "memory of no declared pool", why);
}
