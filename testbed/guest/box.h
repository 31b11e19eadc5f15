/* SPDX-License-Identifier: GPL-2.0 */
/* The guest's end of the mailbox */
#ifndef BOX_H
#define BOX_H

#include <stddef.h>
#include <stdint.h>

#include "../vmm/mailbox.h"

enum result { RESULT_OK, RESULT_FAIL, RESULT_SKIP };

struct box_range {
	uint64_t addr;
	uint64_t pages;
};

/* Looks at a page, in how many it was visible, and what was seen of the canary */
struct box_watch {
	uint64_t looks, visible;
	uint64_t found, bytes, last;
};

int box_open(void);
int box_command(int command, const uint64_t *args, size_t nr_args,
		const char *text, uint64_t *answer, size_t max_words);
int box_audit(uint64_t addr, uint64_t bytes, uint64_t *visible,
	      struct box_range *ranges, size_t max_ranges);
int box_map(const char *name);
long box_search(uint64_t canary, uint64_t addr, uint64_t bytes, uint64_t *pages,
		struct box_range *first);
int box_watch(uint64_t canary, uint64_t addr, uint64_t bytes, struct box_watch *seen);
int box_owner(uint64_t addr, uint64_t bytes, const char *name);
void box_log(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void box_result(enum result result, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

#endif
