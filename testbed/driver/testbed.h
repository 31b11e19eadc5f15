/* SPDX-License-Identifier: GPL-2.0 */
/*
 * How a test steers the driver: each device is /dev/testbed-NAME, NAME that of
 * its device tree node, with TESTBED_SLOTS slots that hold one allocation or
 * mapping each.
 */
#ifndef TESTBED_H
#define TESTBED_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define TESTBED_SLOTS		64
#define TESTBED_SG_PARTS	16

enum testbed_kind {
	TESTBED_NONE,
	TESTBED_COHERENT,	/* dma_alloc_coherent() */
	TESTBED_PAGES,		/* dma_alloc_pages() */
	TESTBED_NO_MAPPING,	/* dma_alloc_attrs(), DMA_ATTR_NO_KERNEL_MAPPING */
	TESTBED_NONCONTIGUOUS,	/* dma_alloc_noncontiguous() */
	TESTBED_SINGLE,		/* dma_map_single() of a buffer of its own */
	TESTBED_SG,		/* dma_map_sgtable() of pages of its own */
};

/* Flags */
#define TESTBED_ATOMIC		1	/* GFP_ATOMIC, with interrupts off */
#define TESTBED_TO_DEVICE	2	/* DMA_TO_DEVICE; neither: */
#define TESTBED_FROM_DEVICE	4	/* DMA_BIDIRECTIONAL */
#define TESTBED_SECRET		8	/* the memory held the canary @seed before */
#define TESTBED_SKIP_SYNC	16	/* a mapping: DMA_ATTR_SKIP_CPU_SYNC */

/**
 * struct testbed_op - one step
 * @slot:	0 to TESTBED_SLOTS - 1
 * @kind:	for TESTBED_IOC_GET
 * @flags:	for TESTBED_IOC_GET
 * @offset:	bytes, for a part of a slot; of TESTBED_IOC_GET: where in its pages
 *		a TESTBED_SINGLE buffer begins; of TESTBED_IOC_PUT: so many bytes
 *		at its beginning the device has written
 * @size:	bytes
 * @seed:	of the pattern, see pattern_word() in vmm/mailbox.h; of a
 *		TESTBED_SECRET: the canary, and the pattern of what is for the device
 * @parts:	result of TESTBED_IOC_GET: how many of @dma and @len are in use
 * @dma:	result of TESTBED_IOC_GET: addresses as the device sees them
 * @len:	result of TESTBED_IOC_GET: the length at each
 * @good:	result of TESTBED_IOC_CHECK: bytes up to the first difference;
 *		of TESTBED_IOC_PUT: the same, of a TESTBED_SINGLE buffer once it
 *		is unmapped
 * @wrong:	result of TESTBED_IOC_PUT, of a TESTBED_SECRET mapping: bytes that
 *		the device has written and that have not come
 * @foreign:	the same: bytes that it has not written and that are neither what
 *		they were nor zero
 * @around:	the same: bytes beside the buffer that are not what they were
 */
struct testbed_op {
	__u32 slot;
	__u32 kind;
	__u32 flags;
	__u32 parts;
	__u64 offset;
	__u64 size;
	__u64 seed;
	__u64 good;
	__u64 wrong;
	__u64 foreign;
	__u64 around;
	__u64 dma[TESTBED_SG_PARTS];
	__u64 len[TESTBED_SG_PARTS];
};

/**
 * struct testbed_bench - the same thing done many times, for what it costs
 * @kind:	as of struct testbed_op
 * @flags:	the same; TESTBED_ATOMIC is GFP_ATOMIC with interrupts on
 * @size:	bytes
 * @count:	operations of a batch, each of them with its opposite
 * @batches:	how many batches, after one that is not counted
 * @row:	told to the hypervisor before the first batch and, plus
 *		TESTBED_ROW_ENDS, after the last, see TESTBED_ROW
 * @held_size:	bytes of each of those that are held meanwhile, of @size at most
 * @held:	so many are taken before, at most; they end where there is no more
 * @percent:	of these are not given back again, evenly spread; result of @held:
 *		how many these are
 * @ns:		result: of the guest's clock, of the shortest batch
 */
struct testbed_bench {
	__u32 kind;
	__u32 flags;
	__u64 size;
	__u32 count;
	__u32 batches;
	__u64 row;
	__u64 ns;
	__u64 held_size;
	__u32 held;
	__u32 percent;
};

/*
 * A hypercall that changes nothing, and an argument that it does not have: so
 * whoever counts hypercalls knows which row they belong to
 */
#define TESTBED_ROW		0x86000000	/* ARM_SMCCC_VENDOR_HYP_KVM_FEATURES_FUNC_ID */
#define TESTBED_ROW_MAGIC	0x62656e6368000000ULL
#define TESTBED_ROW_ENDS	0x10000
#define TESTBED_HELD_MAX	16384

struct testbed_info {
	__u64 mask;
	__u64 max_mapping_size;
};

/* Allocate or map; free or unmap */
#define TESTBED_IOC_GET		_IOWR('t', 1, struct testbed_op)
#define TESTBED_IOC_PUT		_IOWR('t', 2, struct testbed_op)
/* The processor writes the pattern, or compares with it */
#define TESTBED_IOC_FILL	_IOW('t', 3, struct testbed_op)
#define TESTBED_IOC_CHECK	_IOWR('t', 4, struct testbed_op)
/* dma_sync_*_for_cpu() and _for_device() of @size bytes at @offset */
#define TESTBED_IOC_SYNC_CPU	_IOW('t', 5, struct testbed_op)
#define TESTBED_IOC_SYNC_DEVICE	_IOW('t', 6, struct testbed_op)
#define TESTBED_IOC_INFO	_IOR('t', 7, struct testbed_info)
/* Leave @seed, a canary, all over the memory that is free; @good: in how many pages */
#define TESTBED_IOC_FILL_FREE	_IOWR('t', 8, struct testbed_op)
/* Returns when the kernel has done its scheduled work, such as to grow a pool */
#define TESTBED_IOC_SETTLE	_IO('t', 9)
/* Do it many times and say what it costs */
#define TESTBED_IOC_BENCH	_IOWR('t', 10, struct testbed_bench)
/* Tell the hypervisor that this row begins, or ends, as TESTBED_IOC_BENCH does */
#define TESTBED_IOC_ROW		_IOW('t', 11, __u64)

/* mmap() at this offset maps a slot's memory */
#define TESTBED_MMAP_OFFSET(slot)	((__u64)(slot) << 32)

#endif
