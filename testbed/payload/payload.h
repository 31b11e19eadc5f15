/* SPDX-License-Identifier: GPL-2.0 */
#ifndef PAYLOAD_H
#define PAYLOAD_H

/* Where things are: see testbed/vmm/vmm.h */
#define RAM_BASE		0x40000000
#define DTB_OFFSET		0x2000000
/* Free memory, behind what testbed/run may load */
#define ARENA			0x43000000

/* No answer of the hypervisor's: an exception was taken instead */
#define HYPERCALL_ABORTED	-100

#endif
