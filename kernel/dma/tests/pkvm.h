/* SPDX-License-Identifier: GPL-2.0 */
/*
 * How pKVM answers a protected guest that shares a page with the host or takes
 * it back: the simulated platform is held against this table, and so is the
 * hypervisor of the machine if it is a protected guest.
 *
 * The contents of a page that the guest has touched stay as they are in all of
 * this. A page that it has never touched is given to the guest by the attempt
 * to share it, zeroed.
 */
#ifndef _KERNEL_DMA_TESTS_PKVM_H
#define _KERNEL_DMA_TESTS_PKVM_H

/**
 * enum pkvm_page - what a page is before and after a call
 * @PKVM_UNTOUCHED: memory of the guest that it has not used since it was started
 * @PKVM_PRIVATE: memory that only the guest can see
 * @PKVM_SHARED: memory that the host can see, too
 * @PKVM_NOTHING: no memory of the guest is there
 */
enum pkvm_page {
	PKVM_UNTOUCHED,
	PKVM_PRIVATE,
	PKVM_SHARED,
	PKVM_NOTHING,
};

enum pkvm_call {
	PKVM_SHARE,
	PKVM_UNSHARE,
};

/**
 * enum pkvm_answer - how a call ends
 * @PKVM_DONE: SMCCC_RET_SUCCESS
 * @PKVM_REFUSED: SMCCC_RET_INVALID_PARAMETER
 * @PKVM_ABORTED: an external abort is taken at the call
 */
enum pkvm_answer {
	PKVM_DONE,
	PKVM_REFUSED,
	PKVM_ABORTED,
};

static const struct pkvm_transition {
	enum pkvm_page page;
	enum pkvm_call call;
	enum pkvm_answer answer;
	enum pkvm_page becomes;
} pkvm_transitions[] = {
	{ PKVM_UNTOUCHED, PKVM_SHARE,	PKVM_DONE,	PKVM_SHARED },
	{ PKVM_UNTOUCHED, PKVM_UNSHARE,	PKVM_REFUSED,	PKVM_UNTOUCHED },
	{ PKVM_PRIVATE,	  PKVM_SHARE,	PKVM_DONE,	PKVM_SHARED },
	{ PKVM_PRIVATE,	  PKVM_UNSHARE,	PKVM_REFUSED,	PKVM_PRIVATE },
	{ PKVM_SHARED,	  PKVM_SHARE,	PKVM_REFUSED,	PKVM_SHARED },
	{ PKVM_SHARED,	  PKVM_UNSHARE,	PKVM_DONE,	PKVM_PRIVATE },
	{ PKVM_NOTHING,	  PKVM_SHARE,	PKVM_ABORTED,	PKVM_NOTHING },
	{ PKVM_NOTHING,	  PKVM_UNSHARE,	PKVM_REFUSED,	PKVM_NOTHING },
};

#endif /* _KERNEL_DMA_TESTS_PKVM_H */
