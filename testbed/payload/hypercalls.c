// SPDX-License-Identifier: GPL-2.0
/*
 * A guest without a kernel that shares pages and takes them back at random,
 * and compares what the hypervisor answers, what becomes of the contents and
 * what the host can see with a model.  The model is the table that the KUnit
 * suites hold their simulation against.
 *
 *	seed=N count=N		on the kernel command line
 *
 * Each step follows from the seed and the step's number alone.  Nothing is
 * touched by accident: the MMU is off, so the compiler must not make accesses
 * that are not aligned, or that the hypervisor cannot decode.
 */
#include <stdarg.h>
#include <stdbool.h>

#include "payload.h"
#include "pkvm.h"
#include "../vmm/mailbox.h"

#define PAGE_SIZE	4096UL
#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))

/* Documentation/virt/kvm/arm/hypercalls.rst */
#define FUNC_FEATURES	0x86000000UL
#define FUNC_MEMINFO	0xc6000002UL
#define FUNC_SHARE	0xc6000003UL
#define FUNC_UNSHARE	0xc6000004UL
#define REFUSED		-3

#define PAGES		512
/* The pages behind those of the random steps are for one try each */
#define TRIES		64
#define CHECKPOINT	1024
#define COMPLAINTS	20

int64_t hypercall(uint64_t id, uint64_t arg1, uint64_t arg2, uint64_t arg3);
void power_off(void) __attribute__((noreturn));

static struct {
	enum pkvm_page is;
	uint64_t word;		/* first and last of the page */
} model[PAGES + TRIES];
static uint64_t hits[ARRAY_SIZE(pkvm_transitions)];
static unsigned int tries, wrong;
static uint64_t step;

static const char *const pages[] = { "untouched", "private", "shared", "nothing" };
static const char *const calls[] = { "share", "unshare" };
static const char *const answers[] = { "done", "refused", "aborted" };

/* No guest of the test bed has memory here */
static const uint64_t nothing[] = {
	0,
	0x08000000,		/* the GIC, which is in the host's kernel */
	0x09000000,		/* the UART, which is in the VMM */
	MAILBOX_BASE,
	0x0c000000,
	RAM_BASE - PAGE_SIZE,
	0x140000000,		/* behind 4 GB of memory */
	1UL << 39,
	1UL << 40,		/* more bits than this guest's addresses have */
	(1UL << 48) - PAGE_SIZE,
};

/* More than any guest's, so that the hypervisor need not ask the host */
static const uint64_t beyond[] = {
	1UL << 48, 1UL << 52, 1UL << 63, -PAGE_SIZE, ARENA | 1UL << 56,
};

/* ---- the mailbox ---- */

static void reg_write(unsigned int reg, uint64_t val)
{
	__asm__ volatile("str %0, [%1]" :: "r"(val), "r"(MAILBOX_BASE + (uint64_t)reg)
			 : "memory");
}

static uint64_t reg_read(unsigned int reg)
{
	uint64_t val;

	__asm__ volatile("ldr %0, [%1]" : "=r"(val) : "r"(MAILBOX_BASE + (uint64_t)reg)
			 : "memory");
	return val;
}

/* Text that is packed into words on its way */
static struct {
	uint64_t word;
	unsigned int chars;
} line;

static void put(char c)
{
	line.word |= (uint64_t)(uint8_t)c << 8 * (line.chars++ % 8);
	if (line.chars % 8)
		return;
	reg_write(MAILBOX_DATA, line.word);
	line.word = 0;
}

static void put_number(uint64_t n, unsigned int base)
{
	char digits[20];
	int i = 0;

	do {
		digits[i++] = "0123456789abcdef"[n % base];
		n /= base;
	} while (n);
	while (i)
		put(digits[--i]);
}

/* %s, and of 64 bits %u, %d and %x */
static void put_text(const char *fmt, va_list ap)
{
	int64_t n;

	for (; *fmt; fmt++) {
		const char *s;

		if (*fmt != '%') {
			put(*fmt);
			continue;
		}
		switch (*++fmt) {
		case 's':
			for (s = va_arg(ap, const char *); *s; s++)
				put(*s);
			break;
		case 'd':
			n = va_arg(ap, int64_t);
			if (n < 0)
				put('-');
			put_number(n < 0 ? -n : n, 10);
			break;
		case 'u':
			put_number(va_arg(ap, uint64_t), 10);
			break;
		case 'x':
			put_number(va_arg(ap, uint64_t), 16);
			break;
		}
	}
	if (line.chars % 8)
		reg_write(MAILBOX_DATA, line.word);
	line.chars = 0;
	line.word = 0;
}

static void say(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	put_text(fmt, ap);
	va_end(ap);
	reg_write(MAILBOX_COMMAND, MAILBOX_LOG);
}

/* What was wrong since the last result makes this one a failure */
static void result(const char *fmt, ...)
{
	va_list ap;

	reg_write(MAILBOX_DATA, wrong ? 1 : 0);
	va_start(ap, fmt);
	put_text(fmt, ap);
	va_end(ap);
	reg_write(MAILBOX_COMMAND, MAILBOX_RESULT);
	wrong = 0;
}

#define complain(fmt, ...) do {						\
	if (wrong++ < COMPLAINTS)					\
		say("step %u: " fmt, step, ##__VA_ARGS__);		\
} while (0)

void bad_exception(uint64_t esr, uint64_t elr, uint64_t far);
void bad_exception(uint64_t esr, uint64_t elr, uint64_t far)
{
	complain("an exception at %x: esr %x far %x", elr, esr, far);
	result("hypercalls exception");
}

/* ---- the model ---- */

static uint64_t address(unsigned int page)
{
	return ARENA + page * PAGE_SIZE;
}

static volatile uint64_t *words(unsigned int page)
{
	return (volatile uint64_t *)address(page);
}

static void touch(unsigned int page, uint64_t word)
{
	words(page)[0] = word;
	words(page)[PAGE_SIZE / 8 - 1] = word;
	model[page].word = word;
	if (model[page].is == PKVM_UNTOUCHED)
		model[page].is = PKVM_PRIVATE;
}

static void check_contents(unsigned int page)
{
	uint64_t first, last;

	if (model[page].is == PKVM_UNTOUCHED)
		return;
	first = words(page)[0];
	last = words(page)[PAGE_SIZE / 8 - 1];
	if (first != model[page].word || last != model[page].word)
		complain("page %x, %s, holds %x and %x, not %x", address(page),
			 pages[model[page].is], first, last, model[page].word);
}

static const struct pkvm_transition *transition(enum pkvm_page page,
						enum pkvm_call call)
{
	const struct pkvm_transition *t = pkvm_transitions;

	/* dma_pkvm.table_is_whole: there is one */
	while (t->page != page || t->call != call)
		t++;
	hits[t - pkvm_transitions]++;
	return t;
}

static int64_t do_call(enum pkvm_call call, uint64_t addr, uint64_t arg2, uint64_t arg3)
{
	return hypercall(call == PKVM_SHARE ? FUNC_SHARE : FUNC_UNSHARE, addr,
			 arg2, arg3);
}

static void expect_answer(const char *what, enum pkvm_call call, uint64_t addr,
			  int64_t got, enum pkvm_answer want)
{
	static const int64_t numbers[] = { 0, REFUSED, HYPERCALL_ABORTED };

	if (got != numbers[want])
		complain("%s of %s at %x: %d, not %s", calls[call], what, addr,
			 got, answers[want]);
}

static void call_page(unsigned int page, enum pkvm_call call)
{
	const struct pkvm_transition *t = transition(model[page].is, call);

	expect_answer(pages[t->page], call, address(page),
		      do_call(call, address(page), 0, 0), t->answer);
	model[page].is = t->becomes;
	/* or it would be touched by this */
	if (t->page != PKVM_UNTOUCHED)
		check_contents(page);
}

static void call_nothing(uint64_t addr, enum pkvm_call call)
{
	const struct pkvm_transition *t = transition(PKVM_NOTHING, call);

	expect_answer(pages[t->page], call, addr, do_call(call, addr, 0, 0), t->answer);
}

/* What must be zero is not, or the address is in the middle of a page */
static void call_badly(unsigned int page, enum pkvm_call call, uint64_t offset,
		       uint64_t arg2, uint64_t arg3)
{
	uint64_t addr = address(page) + offset;

	expect_answer(offset ? "a part of a page" : "a page, with more arguments",
		      call, addr, do_call(call, addr, arg2, arg3), PKVM_REFUSED);
	check_contents(page);
}

/*
 * A device writes to the page.  What comes of it must be seen at once, and only
 * if the page is shared.
 */
static void host_writes(unsigned int page, uint64_t seed)
{
	uint64_t parts[] = { address(page), address(page) + PAGE_SIZE - 8 };
	unsigned int i;
	bool done;

	for (i = 0; i < ARRAY_SIZE(parts); i++) {
		reg_write(MAILBOX_DATA, parts[i]);
		reg_write(MAILBOX_DATA, 8);
		reg_write(MAILBOX_DATA, seed);
		reg_write(MAILBOX_COMMAND, MAILBOX_FILL);
		done = !reg_read(MAILBOX_STATUS);
		if (done != (model[page].is == PKVM_SHARED))
			complain("the host can%s write to page %x, which is %s",
				 done ? "" : "not", address(page), pages[model[page].is]);
	}
	if (model[page].is == PKVM_SHARED)
		model[page].word = pattern_word(seed, 0);
	check_contents(page);
}

/* What the host can see of the pages from @first on is what the model says */
static void audit(unsigned int first, unsigned int count)
{
	uint64_t status, visible, owned, range = 0, end = 0;
	uint64_t want_visible = 0, want_owned = 0;
	unsigned int page;

	for (page = first; page < first + count; page++) {
		want_visible += model[page].is == PKVM_SHARED;
		want_owned += model[page].is != PKVM_UNTOUCHED;
	}
	reg_write(MAILBOX_DATA, address(first));
	reg_write(MAILBOX_DATA, count * PAGE_SIZE);
	reg_write(MAILBOX_COMMAND, MAILBOX_AUDIT);
	status = reg_read(MAILBOX_STATUS);
	if (status) {
		complain("audit: status %d", status);
		return;
	}
	visible = reg_read(MAILBOX_DATA);
	owned = reg_read(MAILBOX_DATA);
	if (visible != want_visible || owned != want_owned)
		complain("audit: the host sees %u pages of %u, not %u of %u",
			 visible, owned, want_visible, want_owned);
	for (page = first; page < first + count; page++) {
		if (address(page) >= end && reg_read(MAILBOX_COUNT)) {
			range = reg_read(MAILBOX_DATA);
			end = MAILBOX_RANGE_ADDR(range) +
				MAILBOX_RANGE_PAGES(range) * PAGE_SIZE;
		}
		if ((address(page) >= MAILBOX_RANGE_ADDR(range) && address(page) < end) !=
		    (model[page].is == PKVM_SHARED))
			complain("audit: page %x is %s, and the host sees %s",
				 address(page), pages[model[page].is],
				 model[page].is == PKVM_SHARED ? "nothing" : "it");
	}
}

/* ---- the tests ---- */

static unsigned int try_page(enum pkvm_page is)
{
	unsigned int page = PAGES + tries++;

	if (is != PKVM_UNTOUCHED)
		touch(page, page);
	if (is == PKVM_SHARED)
		call_page(page, PKVM_SHARE);
	return page;
}

static void test_offered(void)
{
	int64_t features = hypercall(FUNC_FEATURES, 0, 0, 0), i, granule;

	/* MEMINFO, MEM_SHARE and MEM_UNSHARE are the functions 2 to 4 */
	if (features < 0 || (features & 0x1c) != 0x1c)
		complain("functions offered: %x", features);
	granule = hypercall(FUNC_MEMINFO, 0, 0, 0);
	if (granule != PAGE_SIZE)
		complain("granule: %d", granule);
	for (i = 0; i < 3; i++) {
		granule = hypercall(FUNC_MEMINFO, i == 0, i == 1, i == 2);
		if (granule != REFUSED)
			complain("granule, with more arguments: %d", granule);
	}
	result("hypercalls offered: functions %x, pages of %u bytes", features,
	       PAGE_SIZE);
}

static void test_transition(const struct pkvm_transition *t)
{
	unsigned int i, page;

	if (t->page == PKVM_NOTHING) {
		for (i = 0; i < ARRAY_SIZE(nothing); i++)
			call_nothing(nothing[i], t->call);
	} else {
		page = try_page(t->page);
		call_page(page, t->call);
		audit(page, 1);
		check_contents(page);
	}
	result("hypercalls %s of %s: %s, then %s", calls[t->call], pages[t->page],
	       answers[t->answer], pages[t->becomes]);
}

static void test_bad_arguments(void)
{
	enum pkvm_page is;
	enum pkvm_call call;
	unsigned int page, i;

	for (is = PKVM_UNTOUCHED; is <= PKVM_SHARED; is++) {
		page = try_page(is);
		for (call = PKVM_SHARE; call <= PKVM_UNSHARE; call++) {
			call_badly(page, call, 0, 1, 0);
			call_badly(page, call, 0, 0, 1);
			call_badly(page, call, 0, -1, -1);
		}
		audit(page, 1);
	}
	result("hypercalls with arguments that must be zero: refused");

	for (is = PKVM_UNTOUCHED; is <= PKVM_SHARED; is++) {
		page = try_page(is);
		for (call = PKVM_SHARE; call <= PKVM_UNSHARE; call++) {
			call_badly(page, call, 1, 0, 0);
			call_badly(page, call, 8, 0, 0);
			call_badly(page, call, PAGE_SIZE - 1, 0, 0);
		}
		audit(page, 1);
	}
	result("hypercalls of a part of a page: refused");

	for (call = PKVM_SHARE; call <= PKVM_UNSHARE; call++)
		for (i = 0; i < ARRAY_SIZE(beyond); i++)
			expect_answer("no address", call, beyond[i],
				      do_call(call, beyond[i], 0, 0), PKVM_REFUSED);
	result("hypercalls beyond what a guest can address: refused");
}

static void test_host_writes(void)
{
	enum pkvm_page is;
	unsigned int page;

	for (is = PKVM_UNTOUCHED; is <= PKVM_SHARED; is++) {
		page = try_page(is);
		host_writes(page, page);
		audit(page, 1);
		if (is != PKVM_SHARED)
			continue;
		call_page(page, PKVM_UNSHARE);
		host_writes(page, page + 1);
	}
	result("hypercalls contents: kept, and the host writes to shared pages only");
}

static void random_step(uint64_t seed)
{
	uint64_t r = pattern_word(seed, step);
	unsigned int page = (r >> 8) % PAGES;
	enum pkvm_call call = r >> 32 & 1;

	switch (r % 16) {
	default:
		call_page(page, call);
		break;
	case 0 ... 2:
		touch(page, r);
		break;
	case 3:
		check_contents(page);
		break;
	case 4:
		call_badly(page, call, 0, r >> 33 & 1, ~r >> 33 & 1);
		break;
	case 5:
		call_badly(page, call, 1 + (r >> 33) % (PAGE_SIZE - 1), 0, 0);
		break;
	case 6:
		/* any other write makes the VMM say so */
		if (model[page].is == PKVM_SHARED)
			host_writes(page, r);
		break;
	case 7:
		call_nothing(nothing[(r >> 33) % ARRAY_SIZE(nothing)], call);
		break;
	}
}

static void test_random(uint64_t seed, uint64_t count)
{
	uint64_t checkpoints = 0, stopped = 0, i;

	for (step = 1; step <= count && !stopped; step++) {
		random_step(seed);
		if (step % CHECKPOINT && step != count)
			continue;
		audit(0, PAGES);
		checkpoints++;
		/* What went wrong once is wrong from there on */
		if (wrong)
			stopped = step;
	}
	if (stopped)
		say("stopped at step %u", stopped);
	for (i = 0; i < ARRAY_SIZE(hits); i++)
		if (!hits[i] || (!stopped && count >= 10000 && hits[i] < 10))
			complain("only %u times: %s of %s", hits[i],
				 calls[pkvm_transitions[i].call],
				 pages[pkvm_transitions[i].page]);
	result("hypercalls random: %u steps on %u pages, %u audits, seed %u",
	       stopped ? stopped : count, (uint64_t)PAGES, checkpoints, seed);
}

/* The number behind @name on the kernel command line, which stands in the device tree */
static uint64_t setting(const char *dtb, const char *name, uint64_t otherwise)
{
	const char *end = dtb + 0x10000, *p;
	uint64_t n = 0;
	unsigned int i;

	for (; dtb < end; dtb++) {
		for (i = 0; name[i] && dtb[i] == name[i]; i++)
			;
		if (name[i])
			continue;
		for (p = dtb + i; *p >= '0' && *p <= '9'; p++)
			n = n * 10 + *p - '0';
		return n;
	}
	return otherwise;
}

void payload(const char *dtb);
void payload(const char *dtb)
{
	uint64_t seed = setting(dtb, "seed=", 1), count = setting(dtb, "count=", 10000);
	unsigned int i;

	test_offered();
	for (i = 0; i < ARRAY_SIZE(pkvm_transitions); i++)
		test_transition(pkvm_transitions + i);
	test_bad_arguments();
	test_host_writes();
	test_random(seed, count);
}
