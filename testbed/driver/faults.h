/* SPDX-License-Identifier: GPL-2.0 */
/*
 * How a test has shares and un-shares refused, and allocations fail, by
 * /dev/testbed-faults.  Only calls of the task that asks for it count, and those
 * of kernel workers.
 */
#ifndef TESTBED_FAULTS_H
#define TESTBED_FAULTS_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define TESTBED_REFUSALS	8

/**
 * struct testbed_faults - which call is refused; the first is 1, 0 is none
 * @share:	of set_memory_decrypted()
 * @unshare:	of set_memory_encrypted()
 * @page:	of the calls that do either for one page, the hypercalls
 * @worker_alloc: of the allocations of the work that has the atomic pools grow
 * @all_after:	those after it, too, of the same kind
 */
struct testbed_faults {
	__u32 share;
	__u32 unshare;
	__u32 page;
	__u32 worker_alloc;
	__u32 all_after;
};

/**
 * struct testbed_refusal - a range that was not, or not as a whole, shared or un-shared
 * @addr:	physical
 * @pages:	its length
 * @done:	so many of them the hypervisor has been asked for before
 * @unshare:	it was to become private
 */
struct testbed_refusal {
	__u64 addr;
	__u32 pages;
	__u32 done;
	__u32 unshare;
	__u32 pad;
};

/**
 * struct testbed_seen - what has come since
 * @shares, @unshares, @page_calls: calls, refused or not
 * @worker_alloc: the allocation has failed
 * @nr:		refusals; @refused has the first of them
 * @alloc_left:	at the first share, how many allocations more until the one that
 *		fails; 0 if it has failed before
 */
struct testbed_seen {
	__u32 shares;
	__u32 unshares;
	__u32 page_calls;
	__u32 worker_alloc;
	__u32 nr;
	__u32 alloc_left;
	struct testbed_refusal refused[TESTBED_REFUSALS];
};

#define TESTBED_IOC_FAULTS	_IOW('t', 16, struct testbed_faults)
/* Ends it */
#define TESTBED_IOC_SEEN	_IOR('t', 17, struct testbed_seen)

#endif
