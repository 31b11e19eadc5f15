/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Platforms with private memory, simulated for the KUnit suites of kernel/dma,
 * and the device and the restricted DMA pool that a test works on.
 */
#ifndef _KERNEL_DMA_TESTS_PLATFORM_H
#define _KERNEL_DMA_TESTS_PLATFORM_H

#include <kunit/test.h>
#include <linux/device.h>
#include <linux/dma-direct.h>
#include <linux/of_reserved_mem.h>
#include <linux/xarray.h>

/**
 * struct dma_platform - what memory is like for a device, the tests' parameter
 * @name:	the parameter's name in the test report
 * @noncoherent: the device does not see the CPU's caches
 * @force:	force_dma_unencrypted() is true
 * @shares:	set_memory_decrypted() shares pages with the host, who cannot
 *		see them otherwise
 * @once:	sharing a shared page is refused, so is the reverse (pKVM)
 * @alias:	shared pages have another DMA address (CCA, SEV)
 * @destroys:	the contents of a page are lost when its state changes
 * @real:	nothing is simulated, the hypervisor of this machine is asked
 */
struct dma_platform {
	const char *name;
	bool noncoherent;
	bool force;
	bool shares;
	bool once;
	bool alias;
	bool destroys;
	bool real;
};

/* A suite makes its parameters of them. */
#define DMA_PLATFORMS	9
extern const struct dma_platform dma_platforms[DMA_PLATFORMS];

/* Bit 46 of the DMA address tells the shared alias; no test memory is there. */
#define DMA_TEST_SHARED_BIT	BIT_ULL(46)

/**
 * struct dma_test - a test's device and what became of the pages so far
 * @platform:	the parameter
 * @dev:	device with 64-bit masks, on no pool at first
 * @trusted:	a device that may reach private memory, whatever the platform
 * @is_host:	this is no guest, but a host that encrypts its memory; what it
 *		shares, it has not encrypted
 * @shared:	simulated state: the frame numbers of the shared pages
 * @shares:	pages shared, in total
 * @unshares:	pages made private again, in total
 * @refused:	calls refused because the page was in that state already
 * @misused:	calls with an address that is not that of a page in the linear map
 * @refuse_share: refuse to share the n-th page from now on, 1 is the next
 * @refuse_unshare: refuse to make the n-th page from now on private
 * @refuse_remap: fail to remap memory
 * @attaching:	a device is just being attached to the restricted pool
 * @pool_mapping: what was mapped then, which the kernel keeps for good
 * @must_not_sleep: value of dma_stub_must_not_sleep at the start
 * @last_shared: first page of the range that was last asked to be shared
 * @last_refused: page that was last refused to be shared or made private
 * @last_cleaned: first page of the range that the caches were last cleaned of,
 *		if no range was asked to be shared since
 * @rmem:	the restricted pool's memory region
 * @pool_order:	order of the pages that the restricted pool was made of
 * @pool_offset: bytes between the first of these and the pool's beginning
 */
struct dma_test {
	const struct dma_platform *platform;
	struct device *dev;
	struct device *trusted;
	bool is_host;
	struct xarray shared;
	unsigned long shares;
	unsigned long unshares;
	unsigned long refused;
	unsigned long misused;
	unsigned int refuse_share;
	unsigned int refuse_unshare;
	bool refuse_remap;
	bool attaching;
	void *pool_mapping;
	int must_not_sleep;
	struct page *last_shared;
	struct page *last_refused;
	struct page *last_cleaned;
	struct reserved_mem rmem;
	unsigned int pool_order;
	unsigned int pool_offset;
};

int dma_test_init(struct kunit *test);
void dma_test_exit(struct kunit *test);

struct device *dma_test_device(struct kunit *test, const char *name);
int dma_test_try_attach(struct kunit *test, struct device *dev);
void dma_test_attach(struct kunit *test, struct device *dev);
void dma_test_restricted_pool(struct kunit *test, size_t size);
int dma_test_try_restricted_pool(struct kunit *test, size_t size);
bool dma_test_in_pool(struct dma_test *ctx, phys_addr_t phys, size_t size);

/* in swiotlb_kunit.c, which sees the inside of swiotlb.c */
const struct reserved_mem_ops *dma_test_pool_ops(void);
unsigned long dma_test_used(struct dma_test *ctx);

bool dma_test_is_shared(struct dma_test *ctx, phys_addr_t phys);
unsigned int dma_test_count_shared(struct dma_test *ctx, phys_addr_t phys,
				   size_t size);
dma_addr_t dma_test_shared_addr(struct dma_test *ctx, phys_addr_t phys);

#endif /* _KERNEL_DMA_TESTS_PLATFORM_H */
