/* SPDX-License-Identifier: GPL-2.0 */
#ifndef MODEL_H
#define MODEL_H

#include <stdbool.h>
#include <stdint.h>

#include "box.h"

#define SET_MAX		512

/* Pages, as ascending ranges of which none touches another */
struct set {
	unsigned int n;
	struct box_range range[SET_MAX];
};

void set_add(struct set *set, uint64_t addr, uint64_t bytes);
void set_remove(struct set *set, uint64_t addr, uint64_t bytes);
bool set_holds(const struct set *set, uint64_t addr, uint64_t bytes);
void set_minus(const struct set *a, const struct set *b, struct set *diff);
uint64_t set_pages(const struct set *set);

void model_init(void);
int model_find(const char *name, uint64_t *addr, uint64_t *bytes);
void model_share(const char *name);
bool model_refused(const char *name);
void model_hold(uint64_t addr, uint64_t bytes);
void model_drop(uint64_t addr, uint64_t bytes);
void model_keep(uint64_t addr, uint64_t bytes);
uint64_t model_atomic_pages(void);
int model_compare(const char *step);
void model_bounce(uint64_t *addr, uint64_t *bytes);
void model_region(const char *name);
const char *model_disks_pool(void);
long pool_used(const char *name);
long pool_slots(const char *name);

#endif
