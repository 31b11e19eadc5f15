/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A machine without KVM for the device models: memory whose pages are private
 * while they are PROT_NONE, and the VMM's ends of a device recorded.
 */
#ifndef FAKE_H
#define FAKE_H

#include <stdbool.h>
#include <stdint.h>

#define FAKE_MEMORY	(1UL << 20)

extern unsigned int fake_stops;		/* calls of vm_stop() */
extern int fake_status;			/* the last one's */
extern bool fake_irq;			/* the level of the last device's line */

void fake_init(void);
/* Guest memory as the guest has it: pages become the guest's when touched */
void *fake_guest(uint64_t addr);
void fake_private(uint64_t addr, unsigned int pages, bool private);
uint64_t fake_read(uint64_t addr, unsigned int size);
void fake_write(uint64_t addr, uint64_t val, unsigned int size);

#endif
