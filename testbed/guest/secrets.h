/* SPDX-License-Identifier: GPL-2.0 */
/* What the host and the driver may find of a canary on one path: nothing */
#ifndef SECRETS_H
#define SECRETS_H

#include <stdbool.h>

#include "../vmm/canary.h"

/**
 * struct secrets - what is found on one path
 * @name:	of the path
 * @canary:	what to look for
 * @bytes:	the most that the host has seen at an instant
 * @pages:	in how many pages
 * @visible:	how many times the host's thread has seen the memory
 * @found:	and in how many of these the canary
 * @buffers:	how many buffers the driver has looked at; in these:
 * @wrong:	bytes that the device has written and that have not come
 * @foreign:	bytes that it has not, and that are neither as before nor zero
 * @around:	bytes beside the buffer that are not as before
 * @bad:	what did not work
 * @no_watch:	why the thread cannot look, a negative errno
 * @unreachable: the host cannot see the memory that the device should work on
 */
struct secrets {
	const char *name;
	uint64_t canary;
	long bytes;
	uint64_t pages, visible, found;
	unsigned int buffers;
	uint64_t wrong, foreign, around;
	unsigned int bad;
	int no_watch;
	bool unreachable;
};

uint64_t secrets_canary(void);
long secrets_fill(uint64_t canary);
void secrets_begin(struct secrets *s, const char *name);
void secrets_search(struct secrets *s, const char *when, uint64_t addr, uint64_t bytes);
void secrets_watch(struct secrets *s, uint64_t addr, uint64_t bytes);
void secrets_watched(struct secrets *s);
int secrets_end(struct secrets *s);

#endif
