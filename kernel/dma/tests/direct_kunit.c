// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit suite for coherent memory of dma-direct: who shares it with the host,
 * when, and which address the device gets. See
 * Documentation/core-api/dma-private-memory.rst for the rules.
 */
#include <kunit/static_stub.h>
#include <kunit/test.h>
#include <linux/cma.h>
#include <linux/dma-direct.h>
#include <linux/dma-map-ops.h>
#include <linux/dma-mapping.h>
#include <linux/memblock.h>
#include <linux/mm.h>
#include <linux/sizes.h>
#include <linux/swiotlb.h>
#include <linux/vmalloc.h>

#define DMA_STUBS_KEEP_REAL
#include "stubs.h"
#include "platform.h"

#ifdef CONFIG_ARM64
#include <linux/arm-smccc.h>
#include <linux/cc_platform.h>
#include <linux/set_memory.h>
#include <linux/virtio_anchor.h>
#include <asm/hypervisor.h>
#endif

/* The largest allocation that a pool can serve, see IO_TLB_SEGSIZE. */
#define LARGEST		((size_t)IO_TLB_SEGSIZE << IO_TLB_SHIFT)

/* A pool of some pages, whatever their size. */
#define POOL_PAGES	16
#define POOL_SIZE	(POOL_PAGES * PAGE_SIZE)

/* One allocation, by one of the two ways there are. */
struct chunk {
	bool pages;
	size_t size;
	void *cpu_addr;
	struct page *page;
	dma_addr_t dma_addr;
	phys_addr_t phys;
};

static bool chunk_alloc(struct dma_test *ctx, struct chunk *chunk, bool pages,
			size_t size, gfp_t gfp)
{
	*chunk = (struct chunk) { .pages = pages, .size = size };

	if (pages) {
		chunk->page = dma_alloc_pages(ctx->dev, size, &chunk->dma_addr,
					      DMA_BIDIRECTIONAL, gfp);
		if (chunk->page)
			chunk->cpu_addr = page_address(chunk->page);
	} else {
		chunk->cpu_addr = dma_alloc_coherent(ctx->dev, size,
						     &chunk->dma_addr, gfp);
	}
	if (!chunk->cpu_addr)
		return false;

	chunk->phys = dma_to_phys(ctx->dev, chunk->dma_addr);
	return true;
}

static void chunk_free(struct dma_test *ctx, struct chunk *chunk)
{
	if (chunk->pages)
		dma_free_pages(ctx->dev, chunk->size, chunk->page,
			       chunk->dma_addr, DMA_BIDIRECTIONAL);
	else
		dma_free_coherent(ctx->dev, chunk->size, chunk->cpu_addr,
				  chunk->dma_addr);
}

static unsigned int chunk_count_shared(struct dma_test *ctx,
				       struct chunk *chunk)
{
	return dma_test_count_shared(ctx, chunk->phys, chunk->size);
}

/* What holds for every allocation, wherever it is from. */
static void expect_sound(struct kunit *test, struct chunk *chunk)
{
	struct dma_test *ctx = test->priv;
	size_t size = PAGE_ALIGN(chunk->size);
	dma_addr_t addr = chunk->phys;

	KUNIT_EXPECT_NULL_MSG(test, memchr_inv(chunk->cpu_addr, 0, size),
			      "%zu bytes are not zero", chunk->size);
	KUNIT_EXPECT_TRUE(test, IS_ALIGNED(chunk->phys,
					   PAGE_SIZE << get_order(size)));
	if (ctx->platform->force)
		addr = dma_test_shared_addr(ctx, addr);
	if (ctx->rmem.priv)
		KUNIT_EXPECT_TRUE(test, dma_test_in_pool(ctx, chunk->phys, size));
	KUNIT_EXPECT_EQ(test, chunk->dma_addr, addr);
	if (is_vmalloc_addr(chunk->cpu_addr))
		KUNIT_EXPECT_EQ(test, chunk->phys,
				page_to_phys(vmalloc_to_page(chunk->cpu_addr)));
}

/*
 * To ask the real hypervisor about a page is to share it for a moment, which is
 * not to be done to a page that somebody else has got by now. Of a single page
 * a reference can be kept.
 */
static void free_and_expect_private(struct kunit *test, struct chunk *chunk)
{
	struct dma_test *ctx = test->priv;
	struct page *page = pfn_to_page(PHYS_PFN(chunk->phys));
	bool keep = ctx->platform->real && chunk->size <= PAGE_SIZE;

	if (keep)
		get_page(page);
	chunk_free(ctx, chunk);
	if (keep || !ctx->platform->real)
		KUNIT_EXPECT_EQ(test, chunk_count_shared(ctx, chunk), 0);
	if (keep)
		put_page(page);
}

static const size_t sizes[] = {
	1, 64, SZ_2K, PAGE_SIZE - 1, PAGE_SIZE, PAGE_SIZE + 1, 3 * PAGE_SIZE,
	SZ_64K, LARGEST,
};

/* Every size and both ways; the state of the pages before, while and after. */
static void alloc_is_shared_until_freed(struct kunit *test)
{
	struct dma_test *ctx = test->priv;
	struct chunk chunk;
	unsigned int i, pages, shared;

	for (i = 0; i < 2 * ARRAY_SIZE(sizes); i++) {
		KUNIT_ASSERT_TRUE(test, chunk_alloc(ctx, &chunk, i & 1,
						    sizes[i / 2], GFP_KERNEL));
		expect_sound(test, &chunk);
		pages = PFN_UP(chunk.size);
		shared = ctx->platform->force ? pages : 0;
		KUNIT_EXPECT_EQ(test, chunk_count_shared(ctx, &chunk), shared);

		free_and_expect_private(test, &chunk);
	}
}

/* A device that is not coherent has its memory remapped, and shared as well. */
static void remapped_alloc_is_shared_by_linear_map(struct kunit *test)
{
	struct dma_test *ctx = test->priv;
	struct chunk chunk;

	if (!ctx->platform->noncoherent || !ctx->platform->force)
		kunit_skip(test, "nothing is both remapped and shared");

	KUNIT_ASSERT_TRUE(test, chunk_alloc(ctx, &chunk, false, 4 * PAGE_SIZE,
					    GFP_KERNEL));
	KUNIT_EXPECT_TRUE(test, is_vmalloc_addr(chunk.cpu_addr));
	KUNIT_EXPECT_EQ(test, chunk_count_shared(ctx, &chunk), 4);
	expect_sound(test, &chunk);
	free_and_expect_private(test, &chunk);
}

/* Without a mapping for the kernel the memory still is what the device needs. */
static void alloc_without_mapping_is_shared(struct kunit *test)
{
	struct dma_test *ctx = test->priv;
	unsigned int shared = ctx->platform->force ? 2 : 0;
	phys_addr_t phys;
	dma_addr_t addr;
	void *cookie;

	cookie = dma_alloc_attrs(ctx->dev, 2 * PAGE_SIZE, &addr, GFP_KERNEL,
				 DMA_ATTR_NO_KERNEL_MAPPING);
	KUNIT_ASSERT_NOT_NULL(test, cookie);
	phys = dma_to_phys(ctx->dev, addr);
	KUNIT_EXPECT_EQ(test, dma_test_count_shared(ctx, phys, 2 * PAGE_SIZE),
			shared);
	dma_free_attrs(ctx->dev, 2 * PAGE_SIZE, cookie, addr,
		       DMA_ATTR_NO_KERNEL_MAPPING);
	if (!ctx->platform->real)
		KUNIT_EXPECT_EQ(test, 0,
				dma_test_count_shared(ctx, phys, 2 * PAGE_SIZE));
}

/*
 * The share of the n-th page is refused, for every n. What may be shared by
 * then must not be freed: that the first page of the allocation still has its
 * reference tells that none was.
 */
static void refused_share_leaks_what_is_shared(struct kunit *test)
{
	struct dma_test *ctx = test->priv;
	struct chunk chunk;
	unsigned int i, n;

	if (!ctx->platform->force || ctx->platform->real)
		kunit_skip(test, "no share to refuse");

	for (i = 0; i < 2; i++) {
		for (n = 1; n <= 4; n++) {
			ctx->refuse_share = n;
			KUNIT_EXPECT_FALSE(test, chunk_alloc(ctx, &chunk, i,
							     4 * PAGE_SIZE,
							     GFP_KERNEL));
			KUNIT_ASSERT_EQ(test, ctx->refuse_share, 0);
			KUNIT_ASSERT_EQ(test, page_count(ctx->last_shared), 1);

			/* nobody but this test knows of them */
			xa_destroy(&ctx->shared);
			dma_free_contiguous(ctx->dev, ctx->last_shared,
					    4 * PAGE_SIZE);
		}
	}
}

/* Wherever the memory is from: a device gets what it can reach, or nothing. */
static void alloc_is_within_the_mask(struct kunit *test)
{
	struct dma_test *ctx = test->priv;
	u64 required = dma_get_required_mask(ctx->dev);
	unsigned int bits, i;
	struct chunk chunk;

	for (bits = PAGE_SHIFT; bits <= 64; bits++) {
		ctx->dev->coherent_dma_mask = DMA_BIT_MASK(bits);
		for (i = 0; i < 4; i++) {
			size_t size = i & 2 ? 4 * PAGE_SIZE : PAGE_SIZE;
			bool done = chunk_alloc(ctx, &chunk, i & 1, size,
						GFP_KERNEL | __GFP_NOWARN);

			if (size - 1 > DMA_BIT_MASK(bits))
				KUNIT_EXPECT_FALSE(test, done);
			if (DMA_BIT_MASK(bits) >= required)
				KUNIT_EXPECT_TRUE(test, done);
			if (!done)
				continue;
			KUNIT_EXPECT_LE(test, chunk.dma_addr + chunk.size - 1,
					DMA_BIT_MASK(bits));
			chunk_free(ctx, &chunk);
		}
	}
}

/* More than a page is of CMA as often as one likes: none of it is lost. */
static void alloc_from_cma_goes_back_to_it(struct kunit *test)
{
#ifdef CONFIG_DMA_CMA
	struct dma_test *ctx = test->priv;
	struct cma *cma = dev_get_cma_area(ctx->dev);
	unsigned long size, done;
	struct chunk chunk;
	unsigned int i;

	if (!cma)
		kunit_skip(test, "this machine has no memory of CMA");

	size = min_t(unsigned long, cma_get_size(cma), SZ_64M);
	for (i = 0; i < 2; i++) {
		for (done = 0; done <= size; done += LARGEST) {
			struct page *page;

			KUNIT_ASSERT_TRUE(test, chunk_alloc(ctx, &chunk, i,
							    LARGEST, GFP_KERNEL));
			page = pfn_to_page(PHYS_PFN(chunk.phys));
			KUNIT_EXPECT_TRUE(test, is_migrate_cma_page(page));
			chunk_free(ctx, &chunk);
		}
	}
#else
	kunit_skip(test, "this kernel has no CMA");
#endif
}

/* When remapping fails, what was shared for it is private again and freed. */
static void failed_remap_leaves_nothing_shared(struct kunit *test)
{
	struct dma_test *ctx = test->priv;
	struct chunk chunk;

	if (!ctx->platform->noncoherent)
		kunit_skip(test, "nothing is remapped");

	ctx->refuse_remap = true;
	KUNIT_EXPECT_FALSE(test, chunk_alloc(ctx, &chunk, false, 4 * PAGE_SIZE,
					     GFP_KERNEL));
	KUNIT_EXPECT_EQ(test, ctx->shares, ctx->unshares);
	if (!ctx->platform->real && ctx->platform->force)
		KUNIT_EXPECT_EQ(test, ctx->shares, 4);
}

static void refused_unshare_leaks_the_memory(struct kunit *test)
{
	struct dma_test *ctx = test->priv;
	struct chunk chunk;
	unsigned int i, n;

	if (!ctx->platform->force || ctx->platform->real)
		kunit_skip(test, "no share to take back");

	for (i = 0; i < 2; i++) {
		for (n = 1; n <= 4; n++) {
			KUNIT_ASSERT_TRUE(test, chunk_alloc(ctx, &chunk, i,
							    4 * PAGE_SIZE,
							    GFP_KERNEL));
			ctx->refuse_unshare = n;
			chunk_free(ctx, &chunk);
			KUNIT_ASSERT_EQ(test, ctx->refuse_unshare, 0);
			KUNIT_ASSERT_EQ(test, page_count(ctx->last_shared), 1);

			xa_destroy(&ctx->shared);
			dma_free_contiguous(ctx->dev, ctx->last_shared,
					    4 * PAGE_SIZE);
		}
	}
}

/* The pool is shared when it is attached, once, and not by what is done then. */
static void restricted_alloc_is_not_shared_again(struct kunit *test)
{
	struct dma_test *ctx = test->priv;
	unsigned long shares;
	struct chunk chunk;
	unsigned int i;

	dma_test_restricted_pool(test, LARGEST);
	shares = ctx->shares;

	for (i = 0; i < 2 * ARRAY_SIZE(sizes); i++) {
		KUNIT_ASSERT_TRUE(test, chunk_alloc(ctx, &chunk, i & 1,
						    sizes[i / 2], GFP_KERNEL));
		expect_sound(test, &chunk);
		KUNIT_EXPECT_EQ(test, ctx->shares, shares);
		KUNIT_EXPECT_GT(test, dma_test_used(ctx), 0);
		chunk_free(ctx, &chunk);
		KUNIT_EXPECT_EQ(test, dma_test_used(ctx), 0);
	}
}

static void restricted_free_leaves_pool_shared(struct kunit *test)
{
	struct dma_test *ctx = test->priv;
	unsigned int i, pages = LARGEST / PAGE_SIZE;
	struct chunk chunk;

	if (!ctx->platform->force)
		kunit_skip(test, "no device needs shared memory");

	dma_test_restricted_pool(test, LARGEST);
	for (i = 0; i < 2; i++) {
		KUNIT_ASSERT_TRUE(test, chunk_alloc(ctx, &chunk, i,
						    4 * PAGE_SIZE, GFP_KERNEL));
		chunk_free(ctx, &chunk);
		KUNIT_EXPECT_EQ(test, ctx->unshares, 0);
		KUNIT_EXPECT_EQ(test, pages,
				dma_test_count_shared(ctx, ctx->rmem.base,
						      ctx->rmem.size));
		KUNIT_EXPECT_EQ(test, dma_test_used(ctx), 0);
	}
}

#ifdef __DMA_ATTR_ALLOC_CC_SHARED
/* A device that cannot use the pool is kept to it, and gets nothing. */
static void expect_kept_from_pool(struct kunit *test, struct device *dev)
{
	struct dma_test *ctx = test->priv;
	void *buf = kunit_kzalloc(test, PAGE_SIZE, GFP_KERNEL);
	struct chunk chunk;
	dma_addr_t addr;
	unsigned int i;

	KUNIT_ASSERT_NOT_NULL(test, buf);
	dma_test_attach(test, dev);
	swap(ctx->dev, dev);
	for (i = 0; i < 2; i++)
		KUNIT_EXPECT_FALSE(test, chunk_alloc(ctx, &chunk, i, PAGE_SIZE,
						     GFP_KERNEL));
	addr = dma_map_single(ctx->dev, buf, PAGE_SIZE, DMA_TO_DEVICE);
	KUNIT_EXPECT_TRUE(test, dma_mapping_error(ctx->dev, addr));
	swap(ctx->dev, dev);
	KUNIT_EXPECT_EQ(test, dma_test_used(ctx), 0);
}

/* A device that may reach private memory cannot use a shared pool. */
static void expect_shared_or_nothing(struct kunit *test, struct device *dev)
{
	expect_kept_from_pool(test, dev);
}
#else
/* A device that cannot use the pool does not get it. */
static void expect_kept_from_pool(struct kunit *test, struct device *dev)
{
	KUNIT_EXPECT_NE(test, 0, dma_test_try_attach(test, dev));
}

/* A device that may reach private memory can use a shared pool as well. */
static void expect_shared_or_nothing(struct kunit *test, struct device *dev)
{
	struct dma_test *ctx = test->priv;
	struct chunk chunk;
	unsigned int i;

	dma_test_attach(test, dev);
	swap(ctx->dev, dev);
	for (i = 0; i < 2; i++) {
		if (!chunk_alloc(ctx, &chunk, i, PAGE_SIZE, GFP_KERNEL)) {
			KUNIT_FAIL(test, "no memory");
			break;
		}
		expect_sound(test, &chunk);
		chunk_free(ctx, &chunk);
		KUNIT_EXPECT_EQ(test, dma_test_used(ctx), 0);
	}
	swap(ctx->dev, dev);
}
#endif

/* The pool was shared for another device than this one. */
static void shared_pool_serves_as_such_or_not_at_all(struct kunit *test)
{
	struct dma_test *ctx = test->priv;
	struct device *trusted = dma_test_device(test, "dma-kunit-trusted");

	if (!ctx->platform->force || ctx->platform->real)
		kunit_skip(test, "all devices are alike");

	dma_test_restricted_pool(test, POOL_SIZE);
	ctx->trusted = trusted;
	expect_shared_or_nothing(test, trusted);
}

#ifndef __DMA_ATTR_ALLOC_CC_SHARED
/* All memory of a test machine is mapped alike, so take note. */
static bool mapped_decrypted;

static pgprot_t note_pgprot_decrypted(pgprot_t prot)
{
	mapped_decrypted = true;
	return pgprot_decrypted(prot);
}

/*
 * User space would have the buffer mapped as shared memory. It is not mapped:
 * there is only one page of it, and this wants the second.
 */
static bool user_mapping_is_decrypted(struct kunit *test, struct chunk *chunk)
{
	struct dma_test *ctx = test->priv;
	struct vm_area_struct vma = { .vm_end = PAGE_SIZE, .vm_pgoff = 1 };

	mapped_decrypted = false;
	kunit_activate_static_stub(test, dma_stub_pgprot_decrypted,
				   note_pgprot_decrypted);
	KUNIT_EXPECT_EQ(test, -ENXIO,
			dma_mmap_coherent(ctx->dev, &vma, chunk->cpu_addr,
					  chunk->dma_addr, PAGE_SIZE));
	kunit_deactivate_static_stub(test, dma_stub_pgprot_decrypted);
	return mapped_decrypted;
}

/* What a host that encrypts its memory has shared is mapped so for any device. */
static void host_maps_pool_decrypted(struct kunit *test)
{
	struct dma_test *ctx = test->priv;
	struct chunk chunk;

	if (!ctx->platform->alias)
		kunit_skip(test, "no host is like that");

	ctx->is_host = true;
	ctx->trusted = ctx->dev;
	dma_test_restricted_pool(test, POOL_SIZE);
	KUNIT_ASSERT_TRUE(test, chunk_alloc(ctx, &chunk, false, PAGE_SIZE,
					    GFP_KERNEL));
	KUNIT_EXPECT_TRUE(test, user_mapping_is_decrypted(test, &chunk));
	chunk_free(ctx, &chunk);
	KUNIT_EXPECT_EQ(test, dma_test_used(ctx), 0);
}

/* In a guest a pool that is not shared is mapped as other private memory. */
static void guest_maps_private_pool_as_it_is(struct kunit *test)
{
	struct dma_test *ctx = test->priv;
	struct chunk chunk;

	if (!ctx->platform->shares || ctx->platform->real)
		kunit_skip(test, "no pool can be both private and reached");

	ctx->trusted = ctx->dev;
	dma_test_restricted_pool(test, POOL_SIZE);
	KUNIT_ASSERT_TRUE(test, chunk_alloc(ctx, &chunk, false, PAGE_SIZE,
					    GFP_KERNEL));
	KUNIT_EXPECT_FALSE(test, user_mapping_is_decrypted(test, &chunk));
	chunk_free(ctx, &chunk);
}
#endif

/* The pool of a device that may reach private memory is not shared. */
static void private_pool_is_for_trusted_devices(struct kunit *test)
{
	struct dma_test *ctx = test->priv;
	struct device *other = dma_test_device(test, "dma-kunit-other");
	struct chunk chunk;
	unsigned int i;

	if (!ctx->platform->shares || ctx->platform->real)
		kunit_skip(test, "no pool can be both private and reached");

	ctx->trusted = ctx->dev;
	dma_test_restricted_pool(test, POOL_SIZE);
	KUNIT_EXPECT_EQ(test, ctx->shares, 0);
	for (i = 0; i < 2; i++) {
		KUNIT_ASSERT_TRUE(test, chunk_alloc(ctx, &chunk, i, PAGE_SIZE,
						    GFP_KERNEL));
		KUNIT_EXPECT_TRUE(test, dma_test_in_pool(ctx, chunk.phys,
							 PAGE_SIZE));
		KUNIT_EXPECT_EQ(test, chunk.dma_addr, chunk.phys);
		chunk_free(ctx, &chunk);
	}

	if (ctx->platform->force)
		expect_kept_from_pool(test, other);
	KUNIT_EXPECT_EQ(test, ctx->shares, 0);
	KUNIT_EXPECT_EQ(test, ctx->unshares, 0);
}

/* The mask is held against the address that the device would be given. */
static void restricted_alloc_honours_mask(struct kunit *test)
{
	struct dma_test *ctx = test->priv;
	struct chunk chunk;
	unsigned int i;
	bool done;

	dma_test_restricted_pool(test, POOL_SIZE);
	ctx->dev->coherent_dma_mask = DMA_BIT_MASK(32);
	for (i = 0; i < 2; i++) {
		done = chunk_alloc(ctx, &chunk, i, PAGE_SIZE, GFP_KERNEL);
		KUNIT_EXPECT_EQ(test, done,
				!(ctx->platform->alias && ctx->platform->force));
		if (done)
			chunk_free(ctx, &chunk);
		KUNIT_EXPECT_EQ(test, dma_test_used(ctx), 0);
	}
}

static void restricted_pool_can_be_used_up(struct kunit *test)
{
	struct dma_test *ctx = test->priv;
	unsigned int n, pages = POOL_PAGES;
	struct chunk *chunks, extra;

	dma_test_restricted_pool(test, POOL_SIZE);
	chunks = kunit_kcalloc(test, pages, sizeof(*chunks), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, chunks);

	KUNIT_EXPECT_FALSE(test, chunk_alloc(ctx, &extra, false, 2 * POOL_SIZE,
					     GFP_KERNEL));
	KUNIT_EXPECT_EQ(test, dma_test_used(ctx), 0);

	for (n = 0; n < pages; n++)
		if (!chunk_alloc(ctx, &chunks[n], n & 1, PAGE_SIZE, GFP_KERNEL))
			break;
	KUNIT_EXPECT_EQ(test, n, pages);
	KUNIT_EXPECT_FALSE(test, chunk_alloc(ctx, &extra, false, 1, GFP_KERNEL));
	KUNIT_EXPECT_FALSE(test, chunk_alloc(ctx, &extra, true, PAGE_SIZE,
					     GFP_KERNEL));
	while (n--)
		chunk_free(ctx, &chunks[n]);
	KUNIT_EXPECT_EQ(test, dma_test_used(ctx), 0);

	KUNIT_ASSERT_TRUE(test, chunk_alloc(ctx, &extra, false,
					    min(POOL_SIZE, LARGEST), GFP_KERNEL));
	chunk_free(ctx, &extra);
	KUNIT_EXPECT_EQ(test, dma_test_used(ctx), 0);
}

static void restricted_alloc_need_not_sleep(struct kunit *test)
{
	struct dma_test *ctx = test->priv;
	struct chunk first, chunk;
	unsigned long shares, used;
	unsigned int i;
	bool done;

	dma_test_restricted_pool(test, POOL_SIZE);
	shares = ctx->shares;
	/* so that no other starts where the pool starts */
	KUNIT_ASSERT_TRUE(test, chunk_alloc(ctx, &first, false, PAGE_SIZE,
					    GFP_KERNEL));
	used = dma_test_used(ctx);
	for (i = 0; i < 2; i++) {
		preempt_disable();
		done = chunk_alloc(ctx, &chunk, i, PAGE_SIZE, GFP_ATOMIC);
		preempt_enable();
		KUNIT_ASSERT_TRUE(test, done);
		expect_sound(test, &chunk);
		KUNIT_EXPECT_NE(test, chunk.phys, first.phys);
		KUNIT_EXPECT_EQ(test, ctx->shares, shares);
		chunk_free(ctx, &chunk);
		KUNIT_EXPECT_EQ(test, dma_test_used(ctx), used);
	}
	chunk_free(ctx, &first);
	KUNIT_EXPECT_EQ(test, dma_test_used(ctx), 0);
}

/* A driver releases its memory regions before devres frees its memory. */
static void restricted_free_after_release(struct kunit *test)
{
	struct dma_test *ctx = test->priv;
	struct chunk chunks[2];
	unsigned int i;

	dma_test_restricted_pool(test, POOL_SIZE);
	for (i = 0; i < 2; i++)
		KUNIT_ASSERT_TRUE(test, chunk_alloc(ctx, &chunks[i], i,
						    PAGE_SIZE, GFP_KERNEL));
	if (ctx->rmem.ops->device_release)
		ctx->rmem.ops->device_release(&ctx->rmem, ctx->dev);
	for (i = 0; i < 2; i++)
		chunk_free(ctx, &chunks[i]);

	KUNIT_EXPECT_EQ(test, dma_test_used(ctx), 0);
	KUNIT_EXPECT_EQ(test, ctx->unshares, 0);
}

/* A pool that cannot be shared is not used, and may be tried again. */
static void refused_pool_is_not_used(struct kunit *test)
{
	struct dma_test *ctx = test->priv;
	struct io_tlb_mem *before = ctx->dev->dma_io_tlb_mem;

	if (!ctx->platform->force || ctx->platform->real)
		kunit_skip(test, "no share to refuse");

	ctx->refuse_share = 3;
	KUNIT_EXPECT_NE(test, 0, dma_test_try_restricted_pool(test, POOL_SIZE));
	KUNIT_EXPECT_EQ(test, ctx->refuse_share, 0);
	KUNIT_EXPECT_PTR_EQ(test, ctx->dev->dma_io_tlb_mem, before);
	KUNIT_EXPECT_NULL(test, ctx->rmem.priv);
	swiotlb_dev_init(ctx->dev);

	/* as the hypervisor of pKVM leaves it */
	xa_destroy(&ctx->shared);
	dma_test_attach(test, ctx->dev);
	KUNIT_EXPECT_EQ(test, POOL_PAGES,
			dma_test_count_shared(ctx, ctx->rmem.base,
					      ctx->rmem.size));
}

/* mem= may cut off the end of a pool, which is not in the linear map then. */
static void pool_that_is_cut_off_is_refused(struct kunit *test)
{
	struct dma_test *ctx = test->priv;
	struct io_tlb_mem *before = ctx->dev->dma_io_tlb_mem;

	if (!ctx->platform->force || ctx->platform->real)
		kunit_skip(test, "no share to refuse");

	/* twice, lest anything be written where there is no memory */
	ctx->refuse_share = 1;
	KUNIT_EXPECT_NE(test, 0, dma_test_try_restricted_pool(test, POOL_SIZE));
	ctx->refuse_share = 1;
	ctx->rmem.size = PFN_PHYS(max_pfn) + SZ_1G - ctx->rmem.base;
	KUNIT_EXPECT_EQ(test, -EINVAL, dma_test_try_attach(test, ctx->dev));
	KUNIT_EXPECT_EQ(test, ctx->refuse_share, 1);
	KUNIT_EXPECT_PTR_EQ(test, ctx->dev->dma_io_tlb_mem, before);
	KUNIT_EXPECT_NULL(test, ctx->rmem.priv);
	ctx->refuse_share = 0;
	ctx->rmem.size = POOL_SIZE;
}

/* Part of a page cannot be shared, and is not needed where nothing is. */
static void pool_is_shared_in_whole_pages_or_refused(struct kunit *test)
{
	struct dma_test *ctx = test->priv;
	bool force = ctx->platform->force;

	KUNIT_EXPECT_EQ(test, force,
			!!dma_test_try_restricted_pool(test, POOL_SIZE - SZ_2K));
	swiotlb_dev_init(ctx->dev);
	if (!force)
		return;
	ctx->rmem.base += SZ_2K;
	ctx->rmem.size = POOL_SIZE - PAGE_SIZE;
	KUNIT_EXPECT_NE(test, 0, dma_test_try_attach(test, ctx->dev));
	ctx->rmem.base -= SZ_2K;
	KUNIT_EXPECT_NULL(test, ctx->rmem.priv);
	KUNIT_EXPECT_EQ(test, ctx->shares, 0);
}

/* A mapping that only some allocations need is not worth the pool. */
static void pool_without_a_mapping_serves_who_may_sleep(struct kunit *test)
{
	struct dma_test *ctx = test->priv;
	struct chunk chunk;

	if (!IS_ENABLED(CONFIG_DMA_DIRECT_REMAP) || !ctx->platform->noncoherent)
		kunit_skip(test, "nothing is remapped");

	ctx->refuse_remap = true;
	dma_test_restricted_pool(test, POOL_SIZE);
	ctx->refuse_remap = false;
	KUNIT_EXPECT_FALSE(test, chunk_alloc(ctx, &chunk, false, PAGE_SIZE,
					     GFP_ATOMIC));
	KUNIT_ASSERT_TRUE(test, chunk_alloc(ctx, &chunk, false, PAGE_SIZE,
					    GFP_KERNEL));
	expect_sound(test, &chunk);
	chunk_free(ctx, &chunk);
	KUNIT_EXPECT_EQ(test, dma_test_used(ctx), 0);
}

/* Part of a page has a neighbour, whom such a mapping would have in it. */
static void pool_of_part_pages_has_no_mapping(struct kunit *test)
{
	struct dma_test *ctx = test->priv;
	struct chunk chunk;

	if (!IS_ENABLED(CONFIG_DMA_DIRECT_REMAP) || !ctx->platform->noncoherent)
		kunit_skip(test, "nothing is remapped");
	if (ctx->platform->force)
		kunit_skip(test, "such a pool is refused");

	ctx->pool_offset = SZ_2K;
	dma_test_restricted_pool(test, POOL_SIZE);
	KUNIT_EXPECT_FALSE(test, chunk_alloc(ctx, &chunk, false, PAGE_SIZE,
					     GFP_ATOMIC));
	KUNIT_ASSERT_TRUE(test, chunk_alloc(ctx, &chunk, false, PAGE_SIZE,
					    GFP_KERNEL));
	expect_sound(test, &chunk);
	chunk_free(ctx, &chunk);
	KUNIT_EXPECT_EQ(test, dma_test_used(ctx), 0);
}

#ifdef __DMA_ATTR_ALLOC_CC_SHARED
/* Without private memory no share is asked for. */
#define NOTHING_TO_SHARE	0
#else
/* Without private memory a share is asked for, and does nothing. */
#define NOTHING_TO_SHARE	POOL_PAGES
#endif

/* The second device finds the pool as the first one made it. */
static void restricted_pool_is_shared_once(struct kunit *test)
{
	struct dma_test *ctx = test->priv;
	struct device *second = dma_test_device(test, "dma-kunit-second");
	struct chunk mine, other;
	unsigned long shares;

	dma_test_restricted_pool(test, POOL_SIZE);
	shares = ctx->shares;
	if (!ctx->platform->real)
		KUNIT_EXPECT_EQ(test, shares,
				!ctx->platform->shares ? NOTHING_TO_SHARE :
				ctx->platform->force ? POOL_PAGES : 0);
	dma_test_attach(test, second);
	KUNIT_EXPECT_EQ(test, ctx->shares, shares);

	KUNIT_ASSERT_TRUE(test, chunk_alloc(ctx, &mine, false, PAGE_SIZE,
					    GFP_KERNEL));
	swap(ctx->dev, second);
	if (chunk_alloc(ctx, &other, false, PAGE_SIZE, GFP_KERNEL)) {
		expect_sound(test, &other);
		KUNIT_EXPECT_NE(test, mine.phys, other.phys);
		chunk_free(ctx, &other);
	} else {
		KUNIT_FAIL(test, "the second device cannot allocate");
	}
	swap(ctx->dev, second);
	chunk_free(ctx, &mine);
	KUNIT_EXPECT_EQ(test, dma_test_used(ctx), 0);
}

#ifdef CONFIG_ARM64
/* The hypercall that shares memory is what makes a guest a protected one. */
static bool is_protected(void)
{
	return IS_ENABLED(CONFIG_ARM_PKVM_GUEST) &&
	       kvm_arm_hyp_service_available(ARM_SMCCC_KVM_FUNC_MEM_SHARE);
}

/*
 * A realm of Arm CCA has private memory, too. A page that is shared has another
 * address there, in the page tables as well.
 */
static bool is_realm(void)
{
	return pgprot_val(pgprot_decrypted(PAGE_KERNEL)) != pgprot_val(PAGE_KERNEL);
}

static void arm64_protected_guest_forces_unencrypted(struct kunit *test)
{
	if (IS_ENABLED(CONFIG_ARM_PKVM_GUEST))
		KUNIT_EXPECT_TRUE(test,
				  IS_ENABLED(CONFIG_ARCH_HAS_FORCE_DMA_UNENCRYPTED));
	KUNIT_EXPECT_EQ(test, force_dma_unencrypted(NULL),
			is_protected() || is_realm());
}

static void arm64_protected_guest_has_private_memory(struct kunit *test)
{
	if (IS_ENABLED(CONFIG_ARM_PKVM_GUEST))
		KUNIT_EXPECT_TRUE(test, IS_ENABLED(CONFIG_ARCH_HAS_CC_PLATFORM));
	KUNIT_EXPECT_EQ(test, cc_platform_has(CC_ATTR_MEM_ENCRYPT),
			is_protected() || is_realm());
	if (!is_realm())
		KUNIT_EXPECT_EQ(test, cc_platform_has(CC_ATTR_GUEST_MEM_ENCRYPT),
				is_protected());
}

static void arm64_virtio_has_to_use_dma_api(struct kunit *test)
{
	if (!IS_REACHABLE(CONFIG_VIRTIO_ANCHOR) || !is_protected())
		kunit_skip(test, "no protected guest with virtio");
#ifdef CONFIG_VIRTIO_ANCHOR
	KUNIT_EXPECT_TRUE(test, virtio_check_mem_acc_cb(NULL));
#endif
}

/*
 * The host reads what is on a page as soon as it is shared. What the owner of a
 * shared page has on it is not lost to somebody who is refused it.
 */
static void arm64_shared_page_tells_nothing(struct kunit *test)
{
	unsigned long addr;

	if (!is_protected())
		kunit_skip(test, "no protected guest");

	addr = __get_free_page(GFP_KERNEL);
	KUNIT_ASSERT_NE(test, addr, 0);
	memset((void *)addr, 0x77, PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, 0, set_memory_decrypted(addr, 1));
	KUNIT_EXPECT_NULL(test, memchr_inv((void *)addr, 0, PAGE_SIZE));
	memset((void *)addr, 0x88, PAGE_SIZE);
	KUNIT_EXPECT_NE(test, 0, set_memory_decrypted(addr, 1));
	KUNIT_EXPECT_NULL(test, memchr_inv((void *)addr, 0x88, PAGE_SIZE));
	if (!set_memory_encrypted(addr, 1))
		free_page(addr);
}

/* The second of four pages is shared already, so none of the others may be. */
static void arm64_range_is_shared_as_a_whole(struct kunit *test)
{
	unsigned long addr;
	unsigned int i;

	if (!is_protected())
		kunit_skip(test, "no protected guest");

	addr = __get_free_pages(GFP_KERNEL, 2);
	KUNIT_ASSERT_NE(test, addr, 0);

	KUNIT_ASSERT_EQ(test, 0, set_memory_decrypted(addr + PAGE_SIZE, 1));
	KUNIT_EXPECT_NE(test, 0, set_memory_decrypted(addr, 4));
	for (i = 0; i < 4; i++) {
		if (i == 1)
			KUNIT_EXPECT_NE(test, 0, set_memory_decrypted(addr + i * PAGE_SIZE, 1));
		else
			KUNIT_EXPECT_EQ(test, 0, set_memory_decrypted(addr + i * PAGE_SIZE, 1));
	}

	/* all are shared now; what is private before the third stays so */
	KUNIT_EXPECT_EQ(test, 0, set_memory_encrypted(addr + 2 * PAGE_SIZE, 1));
	KUNIT_EXPECT_NE(test, 0, set_memory_encrypted(addr, 4));
	for (i = 0; i < 4; i++)
		KUNIT_EXPECT_EQ(test, i < 3, !!set_memory_encrypted(addr + i * PAGE_SIZE, 1));

	if (test->status == KUNIT_SUCCESS)
		free_pages(addr, 2);
}
#endif

KUNIT_ARRAY_PARAM_DESC(dma_platform, dma_platforms, name);
#define CASE(name) KUNIT_CASE_PARAM(name, dma_platform_gen_params)

static struct kunit_case dma_direct_cases[] = {
	CASE(alloc_is_shared_until_freed),
	CASE(remapped_alloc_is_shared_by_linear_map),
	CASE(alloc_without_mapping_is_shared),
	CASE(alloc_is_within_the_mask),
	CASE(alloc_from_cma_goes_back_to_it),
	CASE(refused_share_leaks_what_is_shared),
	CASE(refused_unshare_leaks_the_memory),
	CASE(failed_remap_leaves_nothing_shared),
	{ }
};

static struct kunit_case dma_restricted_cases[] = {
	CASE(restricted_alloc_is_not_shared_again),
	CASE(restricted_free_leaves_pool_shared),
	CASE(shared_pool_serves_as_such_or_not_at_all),
	CASE(private_pool_is_for_trusted_devices),
#ifndef __DMA_ATTR_ALLOC_CC_SHARED
	CASE(host_maps_pool_decrypted),
	CASE(guest_maps_private_pool_as_it_is),
#endif
	CASE(restricted_alloc_honours_mask),
	CASE(restricted_pool_can_be_used_up),
	CASE(restricted_alloc_need_not_sleep),
	CASE(restricted_free_after_release),
	CASE(restricted_pool_is_shared_once),
	CASE(refused_pool_is_not_used),
	CASE(pool_that_is_cut_off_is_refused),
	CASE(pool_is_shared_in_whole_pages_or_refused),
	CASE(pool_without_a_mapping_serves_who_may_sleep),
	CASE(pool_of_part_pages_has_no_mapping),
	{ }
};

static struct kunit_suite dma_direct_suite = {
	.name = "dma_direct",
	.init = dma_test_init,
	.exit = dma_test_exit,
	.test_cases = dma_direct_cases,
};

static struct kunit_suite dma_restricted_suite = {
	.name = "dma_restricted",
	.init = dma_test_init,
	.exit = dma_test_exit,
	.test_cases = dma_restricted_cases,
};

#ifdef CONFIG_ARM64
static struct kunit_case dma_arm64_cases[] = {
	KUNIT_CASE(arm64_protected_guest_forces_unencrypted),
	KUNIT_CASE(arm64_protected_guest_has_private_memory),
	KUNIT_CASE(arm64_virtio_has_to_use_dma_api),
	KUNIT_CASE(arm64_range_is_shared_as_a_whole),
	KUNIT_CASE(arm64_shared_page_tells_nothing),
	{ }
};

static struct kunit_suite dma_arm64_suite = {
	.name = "dma_arm64",
	.test_cases = dma_arm64_cases,
};

kunit_test_suites(&dma_direct_suite, &dma_restricted_suite, &dma_arm64_suite);
#else
kunit_test_suites(&dma_direct_suite, &dma_restricted_suite);
#endif
