/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The canary: what memory is filled with to see where its contents turn up.
 *
 * It is a word of eight bytes, CANARY_FIRST to CANARY_FIRST + 7 in some order,
 * repeated.  So each byte says which one has to follow, and a copy of any
 * length, at any alignment, is found and counted byte by byte; memory without
 * any of its bytes, which is most of it, costs one comparison a word.
 *
 * This file belongs to the VMM, to the guest's programs and to the driver.
 */
#ifndef CANARY_H
#define CANARY_H

#ifndef __KERNEL__
#include <stdbool.h>
#endif

#include "mailbox.h"

#define CANARY_FIRST	0xe8
/* Fewer bytes than these in a row are chance */
#define CANARY_RUN	4

/* Which byte follows each.  Return: false if the word is no canary */
static inline bool canary_order(uint64_t word, uint8_t next[8])
{
	unsigned int i, seen = 0;

	for (i = 0; i < 8; i++) {
		uint8_t byte = word >> 8 * i;

		seen |= (byte & 0xf8) == CANARY_FIRST ? 1U << (byte & 7) : 0;
		next[byte & 7] = word >> 8 * ((i + 1) % 8);
	}
	return seen == 0xff;
}

/* The byte at @offset of memory that is filled with the canary */
static inline uint8_t canary_byte(uint64_t word, size_t offset)
{
	return word >> 8 * (offset % 8);
}

/* How many bytes of @buf, which is aligned to 8, are the canary's */
static inline size_t canary_count(const void *buf, size_t bytes, uint64_t word)
{
	const uint64_t ones = 0x0101010101010101ULL;
	const uint8_t *p = buf;
	size_t i, run, count = 0;
	uint8_t next[8];

	if (!canary_order(word, next))
		return 0;
	for (i = 0; i < bytes; i += run) {
		if (i % 8 == 0 && bytes - i >= 8) {
			uint64_t x;

			__builtin_memcpy(&x, p + i, 8);
			/* A zero byte for each one that the canary may have */
			x = (x & 0xf8 * ones) ^ CANARY_FIRST * ones;
			run = 8;
			if (!((x - ones) & ~x & 0x80 * ones))
				continue;
		}
		run = 1;
		if ((p[i] & 0xf8) != CANARY_FIRST)
			continue;
		while (i + run < bytes && p[i + run] == next[p[i + run - 1] & 7])
			run++;
		if (run >= CANARY_RUN)
			count += run;
	}
	return count;
}

#endif
