/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The mailbox: how the guest's programs ask the VMM for something.
 *
 * One page of registers at MAILBOX_BASE, 64 bits each.  A command is a number
 * of words written to DATA, then the command's number written to COMMAND; the
 * write returns when the command is done, and all other vcpus stand still
 * while it runs.  The answer is read from STATUS, COUNT and then, word by
 * word, from DATA.  Text is packed into words, the rest of the last one zero.
 *
 * This file belongs to the VMM, to the guest's programs and to the driver.
 */
#ifndef MAILBOX_H
#define MAILBOX_H

#ifdef __KERNEL__
#include <linux/types.h>
#else
#include <stddef.h>
#include <stdint.h>
#endif

#define MAILBOX_BASE		0x0b000000
#define MAILBOX_SIZE		0x1000
#define MAILBOX_MAGIC_VALUE	0x31786f626c69616dULL	/* "mailbox1" */

#define MAILBOX_MAGIC		0x00	/* read only */
#define MAILBOX_DATA		0x08
#define MAILBOX_COMMAND		0x10	/* write only */
#define MAILBOX_STATUS		0x18	/* 0 or a negative errno */
#define MAILBOX_COUNT		0x20	/* words of the answer still to read */

/* The longest command and the longest answer, in words */
#define MAILBOX_WORDS		8192

enum mailbox_command {
	/* text: a line, or several, for the log on the host's console */
	MAILBOX_LOG = 1,
	/* status (0 pass, 1 fail, 2 skip), text: one test's result */
	MAILBOX_RESULT,
	/*
	 * address, bytes: what of this range (0, 0: of all memory) can the host
	 * see?  Answer: pages visible, pages the guest owns, and a
	 * MAILBOX_RANGE() for each range of visible pages.  -EBADMSG if the
	 * host's kernel counts another number of the guest's pages.
	 */
	MAILBOX_AUDIT,
	/* address, bytes, name: the same, and the host prints the page map */
	MAILBOX_MAP,
	/* address, bytes, name: whose pages these are, for the page map */
	MAILBOX_OWNER,
	/*
	 * address, bytes, seed: the device reads this memory and compares it
	 * with the pattern.  Answer: bytes up to the first difference.
	 */
	MAILBOX_CHECK,
	/* address, bytes, seed: the device writes the pattern there */
	MAILBOX_FILL,
	/* disk, sector, sectors, seed: the same for a disk's contents */
	MAILBOX_DISK_CHECK,
	MAILBOX_DISK_FILL,
	/* disk, 1 or 0: hold all of its requests, or let them go */
	MAILBOX_DISK_HOLD,
	/* disk.  Answer: requests done, sectors moved, most held at once */
	MAILBOX_DISK_STATS,
	/*
	 * canary (canary.h), address, bytes (0, 0: all memory): looks for it in
	 * what the host can see.
	 * Answer: pages that hold it, bytes of it, MAILBOX_RANGE()s.
	 */
	MAILBOX_SEARCH,
	/*
	 * disk.  Answer: address and bytes of its queue's descriptors, available
	 * ring and used ring; nothing if there is no queue.
	 */
	MAILBOX_DISK_QUEUE,
	/*
	 * enum mailbox_kernel: one kernel ends and another comes.  From then on
	 * until it is here the guest may not end.
	 */
	MAILBOX_KERNEL,
	/*
	 * canary, address, bytes: look for it, from now on and while the guest
	 * runs, in this range, and now and then in the rest; 0, 0, 0: no longer.
	 * Answer, of the canary before: looks at a page of the range, in how many
	 * the page was visible, how many times the canary was seen, most bytes
	 * of it at once, where it was last.  -ENODEV if the host has one processor.
	 */
	MAILBOX_WATCH,
	/* disk, 0: work; 1: fail, 2: fail after half of the data, 3: do nothing and say it is done */
	MAILBOX_DISK_MODE,
};

enum mailbox_kernel {
	KERNEL_IS_HERE,
	KERNEL_COMES_NEXT,
	/* after a panic of this one, which is no crash then */
	KERNEL_COMES_BY_PANIC,
};

#define MAILBOX_RANGE(addr, pages)	((uint64_t)(addr) >> 12 << 24 | (pages))
#define MAILBOX_RANGE_ADDR(range)	((uint64_t)(range) >> 24 << 12)
#define MAILBOX_RANGE_PAGES(range)	((uint64_t)(range) & 0xffffff)

/*
 * The pattern's word at byte offset 8 * @n, the machine being little endian.  Any two words of one seed, and
 * any two seeds, differ, so a page or a sector in the wrong place is found.
 */
static inline uint64_t pattern_word(uint64_t seed, uint64_t n)
{
	uint64_t x = seed * 0x9e3779b97f4a7c15ULL + n + 1;

	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ULL;
	x = (x ^ x >> 27) * 0x94d049bb133111ebULL;
	return x ^ x >> 31;
}

static inline void pattern_fill(void *buf, size_t bytes, uint64_t seed)
{
	size_t i, n;

	for (i = 0; i < bytes; i += 8) {
		uint64_t word = pattern_word(seed, i / 8);

		n = bytes - i < 8 ? bytes - i : 8;
		__builtin_memcpy((char *)buf + i, &word, n);
	}
}

/* The bytes of @buf up to the first that is not the pattern's */
static inline size_t pattern_check(const void *buf, size_t bytes, uint64_t seed)
{
	size_t i, n;

	for (i = 0; i < bytes; i += 8) {
		uint64_t want = pattern_word(seed, i / 8), word = want;

		n = bytes - i < 8 ? bytes - i : 8;
		__builtin_memcpy(&word, (const char *)buf + i, n);
		if (word != want)
			return i + __builtin_ctzll(word ^ want) / 8;
	}
	return bytes;
}

#endif
