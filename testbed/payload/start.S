/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The payload's first instructions, its hypercall and its exceptions.  It runs
 * where the VMM loads it, with the MMU off, on one vcpu.
 */
#include "payload.h"

	.section .head, "ax"
	/* Documentation/arch/arm64/booting.rst */
	b	start
	.long	0
	.quad	0			/* offset in memory */
	.quad	image_end - RAM_BASE
	.quad	0xa			/* 4 kB pages, anywhere */
	.quad	0, 0, 0
	.ascii	"ARM\x64"
	.long	0

	.global	start
start:
	ldr	x1, =stack_end
	mov	sp, x1
	ldr	x1, =vectors
	msr	vbar_el1, x1
	isb
	/* what is behind the Image is memory not used before: .bss is zero */
	bl	payload
	b	power_off

	.text
	/* int64_t hypercall(id, arg1, arg2, arg3) */
	.global	hypercall
hypercall:
	hvc	#0
after_hypercall:
	ret

	.global	power_off
power_off:
	ldr	x0, =0x84000008		/* PSCI SYSTEM_OFF */
	hvc	#0
	b	.

	/*
	 * An abort at the hypercall is its answer, whichever of the two
	 * instructions it is said to be at; anything else ends the payload.
	 */
exception:
	mrs	x16, elr_el1
	ldr	x17, =hypercall
	cmp	x16, x17
	b.eq	1f
	add	x17, x17, #4
	cmp	x16, x17
	b.ne	2f
1:	mrs	x1, esr_el1
	mrs	x2, far_el1
	mov	x0, #HYPERCALL_ABORTED
	ldr	x17, =after_hypercall
	msr	elr_el1, x17
	eret
2:	mrs	x0, esr_el1
	mov	x1, x16
	mrs	x2, far_el1
	bl	bad_exception
	b	power_off

	.balign	2048
vectors:
	.rept	16
	.balign	128
	b	exception
	.endr

	.bss
	.balign	16
	.skip	16384
stack_end:
