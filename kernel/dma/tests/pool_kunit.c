// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit suite for the atomic pools: they were shared when they were made, and
 * what comes from them goes back to them, as it is.
 *
 * Included by pool.c.
 */
#include <kunit/static_stub.h>
#include <kunit/test.h>
#include <linux/delay.h>
#include <linux/dma-direct.h>
#include <linux/dma-mapping.h>
#include <linux/mm.h>
#include <linux/sizes.h>
#include <linux/swiotlb.h>

#include "platform.h"

#ifdef __DMA_ATTR_ALLOC_CC_SHARED
/* An atomic pool knows whether it is shared. */
#define atomic_pool		dma_gen_pool
#define memory_of(atomic)	((atomic)->pool)

static bool really_shared;

static void take_for_shared(bool shared)
{
	struct dma_gen_pool *pool = NULL;

	while ((pool = dma_guess_pool(pool, 0))) {
		really_shared = pool->cc_shared;
		pool->cc_shared = shared;
	}
}

static void restore_pools(void *unused)
{
	take_for_shared(really_shared);
}

/* The machine's pools are taken for those of the simulated platform. */
static void simulate_shared_pools(struct kunit *test)
{
	take_for_shared(true);
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, restore_pools,
							   NULL));
}

static struct dma_gen_pool *empty_pool(struct kunit *test)
{
	struct dma_gen_pool *pool = kunit_kzalloc(test, sizeof(*pool), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, pool);
	pool->pool = gen_pool_create(PAGE_SHIFT, NUMA_NO_NODE);
	KUNIT_ASSERT_NOT_NULL(test, pool->pool);
	pool->cc_shared = true;
	return pool;
}

#define replace_pool(pool, other)	((pool) = *(other))
#else
#define atomic_pool		gen_pool
#define memory_of(atomic)	(atomic)

static void simulate_shared_pools(struct kunit *test)
{
}

static struct gen_pool *empty_pool(struct kunit *test)
{
	struct gen_pool *pool = gen_pool_create(PAGE_SHIFT, NUMA_NO_NODE);

	KUNIT_ASSERT_NOT_NULL(test, pool);
	return pool;
}

#define replace_pool(pool, other)	((pool) = (other))
#endif

/*
 * This is about what a device that needs unencrypted DMA allocates where one
 * must not sleep. It is from the atomic pools, if there are any.
 */
static void need_atomic_pool(struct kunit *test)
{
	struct dma_test *ctx = test->priv;

	if (!IS_ENABLED(CONFIG_DMA_COHERENT_POOL))
		kunit_skip(test, "there are no atomic pools");
	if (!ctx->platform->force)
		kunit_skip(test, "private memory will do");
	if (!ctx->platform->real)
		simulate_shared_pools(test);
}

static void *device_view(struct dma_test *ctx, dma_addr_t addr)
{
	return phys_to_virt(dma_to_phys(ctx->dev, addr));
}

/* up to what is in a row in the smallest pool */
static const size_t sizes[] = {
	1, PAGE_SIZE, PAGE_SIZE + 1, MIN(4 * PAGE_SIZE, SZ_128K),
};

/* Leaves something there, for the next owner not to find. */
static void expect_from_atomic_pool(struct kunit *test, void *cpu_addr,
				    dma_addr_t dma_addr, size_t size)
{
	struct dma_test *ctx = test->priv;
	phys_addr_t phys = dma_to_phys(ctx->dev, dma_addr);

	KUNIT_EXPECT_NULL(test, memchr_inv(cpu_addr, 0, size));
	KUNIT_EXPECT_EQ(test, dma_addr, dma_test_shared_addr(ctx, phys));
	KUNIT_EXPECT_EQ(test, ctx->shares, 0);
	if (ctx->platform->real)
		KUNIT_EXPECT_EQ(test, PFN_UP(size),
				dma_test_count_shared(ctx, phys, size));
	memset(cpu_addr, 0x55, size);
}

/*
 * Bytes in use of all pools. A pool that runs low grows in the background; wait
 * for that, so that the two numbers of a pool go together.
 */
static size_t pools_used(void)
{
	struct atomic_pool *pool = NULL;
	size_t used = 0;

	flush_work(&atomic_pool_work);
	while ((pool = dma_guess_pool(pool, 0)))
		used += gen_pool_size(memory_of(pool)) -
			gen_pool_avail(memory_of(pool));
	return used;
}

static void atomic_coherent_goes_back_to_pool(struct kunit *test)
{
	struct dma_test *ctx = test->priv;
	bool used_cached = atomic_pools_used_cached;
	size_t used = pools_used();
	unsigned int i;
	dma_addr_t addr;
	void *cpu_addr;

	need_atomic_pool(test);
	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		atomic_pools_used_cached = false;
		cpu_addr = dma_alloc_coherent(ctx->dev, sizes[i], &addr,
					      GFP_ATOMIC);
		/* from now on caches are to be cleaned, if it is cached */
		KUNIT_EXPECT_EQ(test, atomic_pools_used_cached,
				!ctx->platform->noncoherent);
		atomic_pools_used_cached |= used_cached;
		KUNIT_ASSERT_NOT_NULL(test, cpu_addr);
		KUNIT_EXPECT_EQ(test, pools_used(), used + PAGE_ALIGN(sizes[i]));
		expect_from_atomic_pool(test, cpu_addr, addr, sizes[i]);
		if (!ctx->platform->noncoherent)
			KUNIT_EXPECT_PTR_EQ(test, cpu_addr, device_view(ctx, addr));
		dma_free_coherent(ctx->dev, sizes[i], cpu_addr, addr);
		KUNIT_EXPECT_EQ(test, ctx->unshares, 0);
		KUNIT_EXPECT_EQ(test, pools_used(), used);
	}
}

/*
 * Extra references keep the pages when they are freed all the same. Pages in
 * the midst of a higher order allocation have no reference of their own.
 */
static int hold(struct page *page, size_t size)
{
	int count = page_count(page);
	unsigned int i;

	for (i = 0; i < PFN_UP(size); i++)
		page_ref_add(page + i, 2);
	return count;
}

static bool stop_holding(struct page *page, size_t size, int count)
{
	bool untouched = page_count(page) == count + 2;
	unsigned int i;

	for (i = 0; untouched && i < PFN_UP(size); i++)
		page_ref_sub(page + i, 2);
	return untouched;
}

/* Frees what came from an atomic pool, which takes it back as it is. */
static void give_back(struct kunit *test, struct page *page, size_t size,
		      dma_addr_t addr)
{
	struct dma_test *ctx = test->priv;
	int count = hold(page, size);

	dma_free_pages(ctx->dev, size, page, addr, DMA_BIDIRECTIONAL);
	KUNIT_EXPECT_TRUE(test, stop_holding(page, size, count));
	KUNIT_EXPECT_EQ(test, ctx->unshares, 0);
}

static void atomic_pages_go_back_to_pool(struct kunit *test)
{
	struct dma_test *ctx = test->priv;
	size_t used = pools_used();
	struct page *page;
	unsigned int i;
	dma_addr_t addr;

	need_atomic_pool(test);
	for (i = 0; i < 2; i++) {
		page = dma_alloc_pages(ctx->dev, PAGE_SIZE, &addr,
				       DMA_BIDIRECTIONAL, GFP_ATOMIC);
		KUNIT_ASSERT_NOT_NULL(test, page);
		expect_from_atomic_pool(test, page_address(page), addr,
					PAGE_SIZE);
		give_back(test, page, PAGE_SIZE, addr);
		KUNIT_EXPECT_EQ(test, pools_used(), used);
	}
}

/* Several at once, from the middle of the pool as well. */
static void atomic_pages_of_all_sizes_go_back(struct kunit *test)
{
	struct dma_test *ctx = test->priv;
	struct page *pages[ARRAY_SIZE(sizes)];
	dma_addr_t addrs[ARRAY_SIZE(sizes)];
	/* the smallest pool has 128 KiB */
	const unsigned int fit = PAGE_SHIFT > 14 ? 2 : ARRAY_SIZE(sizes);
	size_t used = pools_used();
	unsigned int i, n;

	need_atomic_pool(test);
	for (n = 0; n < fit; n++) {
		pages[n] = dma_alloc_pages(ctx->dev, sizes[n], &addrs[n],
					   DMA_BIDIRECTIONAL, GFP_ATOMIC);
		if (!pages[n])
			break;
	}
	KUNIT_EXPECT_EQ(test, n, fit);

	for (i = 0; i < n; i++)
		give_back(test, pages[i], sizes[i], addrs[i]);
	KUNIT_EXPECT_EQ(test, pools_used(), used);
}

/* The pools that there are serve any device that can reach them. */
static void expect_pools_serve(struct kunit *test)
{
	static const u64 masks[] = { DMA_BIT_MASK(64), DMA_BIT_MASK(32) };
	struct dma_test *ctx = test->priv;
	size_t used = pools_used();
	struct page *page;
	unsigned int i;
	dma_addr_t addr;

	for (i = 0; i < ARRAY_SIZE(masks); i++) {
		ctx->dev->coherent_dma_mask =
			dma_test_shared_addr(ctx, masks[i]);
		page = dma_alloc_pages(ctx->dev, PAGE_SIZE, &addr,
				       DMA_BIDIRECTIONAL, GFP_ATOMIC);
		KUNIT_EXPECT_NOT_NULL(test, page);
		if (!page)
			continue;
		KUNIT_EXPECT_EQ(test, pools_used(), used + PAGE_SIZE);
		give_back(test, page, PAGE_SIZE, addr);
		KUNIT_EXPECT_EQ(test, pools_used(), used);
	}
}

/* Where pools could not be made the others serve, and get theirs back. */
static void other_pools_serve_without_some(struct kunit *test)
{
	typeof(atomic_pool_kernel) kernel = atomic_pool_kernel;
	typeof(atomic_pool_dma32) dma32 = atomic_pool_dma32;
	struct dma_test *ctx = test->priv;

	need_atomic_pool(test);
	if (ctx->platform->real)
		kunit_skip(test, "the machine needs its pool");
	if (!(pool_size_dma + pool_size_dma32))
		kunit_skip(test, "there are no others");

	memset(&atomic_pool_kernel, 0, sizeof(atomic_pool_kernel));
	expect_pools_serve(test);
	if (pool_size_dma) {
		memset(&atomic_pool_dma32, 0, sizeof(atomic_pool_dma32));
		expect_pools_serve(test);
	}
	atomic_pool_kernel = kernel;
	atomic_pool_dma32 = dma32;
}

/* Ordinary memory is not taken for a pool's, wherever it lies. */
static void other_pages_do_not_go_to_pool(struct kunit *test)
{
	struct dma_test *ctx = test->priv;
	struct page *page;
	dma_addr_t addr;

	page = dma_alloc_pages(ctx->dev, PAGE_SIZE, &addr, DMA_BIDIRECTIONAL,
			       GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, page);
	get_page(page);
	dma_free_pages(ctx->dev, PAGE_SIZE, page, addr, DMA_BIDIRECTIONAL);
	KUNIT_EXPECT_EQ(test, page_count(page), 1);
	put_page(page);
}

static int sim_gen_pool_add_virt(struct gen_pool *pool, unsigned long addr,
				 phys_addr_t phys, size_t size, int nid)
{
	return -EXDEV;
}

/* The share of the n-th page is refused: what may be shared is not freed. */
static void refused_share_does_not_expand_pool(struct kunit *test)
{
	struct dma_test *ctx = test->priv;
	struct atomic_pool *pool;
	unsigned int n;

	if (!ctx->platform->force || ctx->platform->real)
		kunit_skip(test, "no share to refuse");

	pool = empty_pool(test);
	for (n = 1; n <= 4; n++) {
		ctx->refuse_share = n;
		KUNIT_EXPECT_NE(test, 0, atomic_pool_expand(pool, 4 * PAGE_SIZE,
							    GFP_KERNEL));
		KUNIT_EXPECT_EQ(test, ctx->refuse_share, 0);
		KUNIT_ASSERT_EQ(test, page_count(ctx->last_shared), 1);

		/* nobody but this test knows of them */
		xa_destroy(&ctx->shared);
		if (!dma_release_from_contiguous(NULL, ctx->last_shared, 4))
			__free_pages(ctx->last_shared, 2);
	}
	KUNIT_EXPECT_EQ(test, gen_pool_size(memory_of(pool)), 0);
	gen_pool_destroy(memory_of(pool));
	atomic_pool_refusals = 0;
}

/* What the pool does not take is private again, and freed, and it is told. */
static void failed_expansion_leaves_nothing(struct kunit *test)
{
	struct dma_test *ctx = test->priv;
	struct page *first = NULL;
	struct atomic_pool *pool;
	unsigned int i;

	if (ctx->platform->real)
		kunit_skip(test, "the simulation counts the pages");

	pool = empty_pool(test);
	kunit_activate_static_stub(test, dma_stub_gen_pool_add_virt,
				   sim_gen_pool_add_virt);
	for (i = 1; i <= 2; i++) {
		KUNIT_EXPECT_EQ(test, -EXDEV,
				atomic_pool_expand(pool, 4 * PAGE_SIZE,
						   GFP_KERNEL));
		KUNIT_EXPECT_EQ(test, ctx->shares, i * 4);
		KUNIT_EXPECT_EQ(test, ctx->unshares, i * 4);
		KUNIT_EXPECT_EQ(test, page_count(ctx->last_shared), 0);
		/* what sharing has written to them does not stay in a cache */
		KUNIT_EXPECT_PTR_EQ(test, ctx->last_cleaned, ctx->last_shared);
		/* CMA gives the first ones that it knows to be free */
		if (first && is_migrate_cma_page(first))
			KUNIT_EXPECT_PTR_EQ(test, ctx->last_shared, first);
		first = ctx->last_shared;
	}
	KUNIT_EXPECT_EQ(test, gen_pool_size(memory_of(pool)), 0);
	gen_pool_destroy(memory_of(pool));
}

/* Where pools can wait, they wait for a device that is not kept to its own. */
static void pools_wait_for_a_device_that_needs_them(struct kunit *test)
{
	struct dma_test *ctx = test->priv;
	struct page *page;
	dma_addr_t addr;

	dma_test_restricted_pool(test, 16 * PAGE_SIZE);
	atomic_pools_wait = 1;
	KUNIT_EXPECT_EQ(test, 0, dma_set_mask_and_coherent(ctx->dev,
							   DMA_BIT_MASK(64)));
	page = dma_alloc_pages(ctx->dev, PAGE_SIZE, &addr, DMA_BIDIRECTIONAL,
			       GFP_KERNEL);
	KUNIT_EXPECT_EQ(test, atomic_pools_wait, 1);
	KUNIT_ASSERT_NOT_NULL(test, page);
	dma_free_pages(ctx->dev, PAGE_SIZE, page, addr, DMA_BIDIRECTIONAL);

	/* it sets its masks */
	ctx->dev = dma_test_device(test, "dma-kunit-other");
	KUNIT_EXPECT_EQ(test, atomic_pools_wait, 0);
	atomic_pools_wait = 1;
	KUNIT_EXPECT_EQ(test, 0, dma_set_mask(ctx->dev, DMA_BIT_MASK(64)));
	KUNIT_EXPECT_EQ(test, atomic_pools_wait, 0);
	atomic_pools_wait = 1;
	KUNIT_EXPECT_EQ(test, 0, dma_set_coherent_mask(ctx->dev,
						       DMA_BIT_MASK(64)));
	KUNIT_EXPECT_EQ(test, atomic_pools_wait, 0);

	/* a driver that is content with the masks that there are does not */
	atomic_pools_wait = 1;
	page = dma_alloc_pages(ctx->dev, PAGE_SIZE, &addr, DMA_BIDIRECTIONAL,
			       GFP_KERNEL);
	KUNIT_EXPECT_EQ(test, atomic_pools_wait, 0);
	KUNIT_ASSERT_NOT_NULL(test, page);
	dma_free_pages(ctx->dev, PAGE_SIZE, page, addr, DMA_BIDIRECTIONAL);
}

/* Who allocates although nothing was prepared has no luck once. */
static void who_has_not_prepared_is_served_next_time(struct kunit *test)
{
	struct dma_test *ctx = test->priv;
	dma_addr_t addr;

	need_atomic_pool(test);
	flush_work(&atomic_pool_work);
	atomic_pools_wait = 1;
	/* more than there is in any pool */
	KUNIT_EXPECT_NULL(test, dma_alloc_pages(ctx->dev, SZ_16M, &addr,
						DMA_BIDIRECTIONAL, GFP_ATOMIC));
	flush_work(&atomic_pool_work);
	KUNIT_EXPECT_EQ(test, atomic_pools_wait, 0);
}

struct preparation {
	struct work_struct work;
	struct completion done;
	struct device *dev;
};

static void prepare_without_io(struct work_struct *work)
{
	struct preparation *p = container_of(work, struct preparation, work);

	dma_atomic_pool_prepare(p->dev, GFP_NOIO);
	complete(&p->done);
}

/* The pools are made while somebody does I/O who has use for them. */
static void who_does_io_does_not_wait_for_pools(struct kunit *test)
{
	struct dma_test *ctx = test->priv;
	struct preparation p = { .dev = ctx->dev };

	init_completion(&p.done);
	INIT_WORK_ONSTACK(&p.work, prepare_without_io);
	flush_work(&atomic_pool_work);
	atomic_pools_wait = 1;
	mutex_lock(&atomic_pool_mutex);
	schedule_work(&p.work);
	KUNIT_EXPECT_NE(test, 0, wait_for_completion_timeout(&p.done, 5 * HZ));
	KUNIT_EXPECT_EQ(test, atomic_pools_wait, 1);
	mutex_unlock(&atomic_pool_mutex);

	flush_work(&p.work);
	flush_work(&atomic_pool_work);
	KUNIT_EXPECT_EQ(test, atomic_pools_wait, 0);
	destroy_work_on_stack(&p.work);
}

static void free_pool_memory(struct page *page, unsigned int order)
{
	if (!dma_release_from_contiguous(NULL, page, 1 << order))
		__free_pages(page, order);
}

static void copy_chunk(struct gen_pool *pool, struct gen_pool_chunk *chunk,
		       void *copy)
{
	*(struct gen_pool_chunk *)copy = *chunk;
}

static void free_filled_pool(struct kunit *test, struct atomic_pool *pool,
			     unsigned int order)
{
	struct gen_pool_chunk chunk = {};

	KUNIT_EXPECT_EQ(test, gen_pool_size(memory_of(pool)), PAGE_SIZE << order);
	gen_pool_for_each_chunk(memory_of(pool), copy_chunk, &chunk);
	gen_pool_destroy(memory_of(pool));
	if (!chunk.phys_addr)
		return;
	if (IS_ENABLED(CONFIG_DMA_DIRECT_REMAP))
		dma_common_free_remap((void *)chunk.start_addr,
				      PAGE_SIZE << order);
	free_pool_memory(pfn_to_page(PHYS_PFN(chunk.phys_addr)), order);
}

/*
 * Pools that could not be filled are not taken for filled, and are later on.
 * One that is does not do for another one.
 */
static void pools_that_are_refused_wait_on(struct kunit *test)
{
	typeof(atomic_pool_kernel) kernel = atomic_pool_kernel;
	unsigned long size_kernel = pool_size_kernel;
	typeof(atomic_pool_dma) dma = atomic_pool_dma;
	unsigned long size_dma = pool_size_dma;
	struct atomic_pool *pool, *other;
	struct dma_test *ctx = test->priv;
	struct page *leaked;
	unsigned int order;

	if (!IS_ENABLED(CONFIG_ZONE_DMA))
		kunit_skip(test, "there is one pool only");
	if (!ctx->platform->force || ctx->platform->real)
		kunit_skip(test, "no share to refuse");

	flush_work(&atomic_pool_work);
	order = min(get_order(atomic_pool_size), MAX_PAGE_ORDER);
	pool = empty_pool(test);
	other = empty_pool(test);
	replace_pool(atomic_pool_kernel, pool);
	replace_pool(atomic_pool_dma, other);
	atomic_pools_wait = 2;
	/* this one comes first */
	ctx->refuse_share = 1;
	atomic_pool_work_fn(NULL);
	KUNIT_EXPECT_EQ(test, atomic_pools_wait, 1);
	KUNIT_EXPECT_EQ(test, gen_pool_size(memory_of(other)), 0);
	KUNIT_EXPECT_EQ(test, gen_pool_size(memory_of(pool)), PAGE_SIZE << order);
	KUNIT_EXPECT_EQ(test, ctx->shares, 1 << order);
	leaked = ctx->last_refused;

	atomic_pool_work_fn(NULL);
	KUNIT_EXPECT_EQ(test, atomic_pools_wait, 0);
	atomic_pool_kernel = kernel;
	pool_size_kernel = size_kernel;
	atomic_pool_dma = dma;
	pool_size_dma = size_dma;
	atomic_pools_wait = 0;

	/* nobody but this test knows of them */
	xa_destroy(&ctx->shared);
	free_filled_pool(test, pool, order);
	free_filled_pool(test, other, order);

	/* leaked, as it might have been shared in part */
	KUNIT_ASSERT_EQ(test, page_count(leaked), 1);
	free_pool_memory(leaked, order);
}

/* Whether memory for @pool was asked for, in vain. */
static bool refuse_to_fill(struct kunit *test, struct atomic_pool *pool,
			   unsigned int order)
{
	struct dma_test *ctx = test->priv;

	ctx->refuse_share = 1;
	atomic_pool_resize(pool, GFP_KERNEL);
	if (ctx->refuse_share) {
		ctx->refuse_share = 0;
		return false;
	}
	KUNIT_ASSERT_EQ(test, page_count(ctx->last_refused), 1);
	free_pool_memory(ctx->last_refused, order);
	return true;
}

/*
 * What is refused is lost, so there is an end to it, and to the wait for pools
 * that cannot be filled. But what is refused now and then is tried on.
 */
static void pools_that_are_always_refused_are_given_up(struct kunit *test)
{
	typeof(atomic_pool_kernel) kernel = atomic_pool_kernel;
	unsigned long size_kernel = pool_size_kernel;
	struct dma_test *ctx = test->priv;
	struct atomic_pool *pool, *other;
	unsigned int order, n;

	if (!ctx->platform->force || ctx->platform->real)
		kunit_skip(test, "no share to refuse");

	flush_work(&atomic_pool_work);
	order = min(get_order(atomic_pool_size), MAX_PAGE_ORDER);
	pool = empty_pool(test);
	other = empty_pool(test);
	atomic_pool_refusals = 0;
	KUNIT_EXPECT_TRUE(test, refuse_to_fill(test, other, order));
	atomic_pool_resize(other, GFP_KERNEL);
	KUNIT_EXPECT_EQ(test, gen_pool_size(memory_of(other)), PAGE_SIZE << order);
	pool_size_kernel = size_kernel;

	for (n = 0; n < 2 * ATOMIC_POOL_REFUSALS; n++)
		if (!refuse_to_fill(test, pool, order))
			break;
	KUNIT_EXPECT_EQ(test, n, ATOMIC_POOL_REFUSALS);
	KUNIT_EXPECT_EQ(test, gen_pool_size(memory_of(pool)), 0);

	replace_pool(atomic_pool_kernel, pool);
	atomic_pools_wait = ATOMIC_POOLS_TRIES;
	for (n = 0; atomic_pools_wait && n < 2 * ATOMIC_POOLS_TRIES; n++)
		atomic_pool_work_fn(NULL);
	KUNIT_EXPECT_EQ(test, n, ATOMIC_POOLS_TRIES);
	atomic_pools_wait = 0;
	atomic_pool_kernel = kernel;

	atomic_pool_refusals = 0;
	gen_pool_destroy(memory_of(pool));
	xa_destroy(&ctx->shared);
	free_filled_pool(test, other, order);
}

#ifdef CONFIG_SWIOTLB_DYNAMIC
static void do_not_grow(struct work_struct *work)
{
}

/* Bounces by a transient pool, as there is no room in others. */
static void bounce_by_transient_pool(struct kunit *test)
{
	struct dma_test *ctx = test->priv;
	unsigned int patience = 250;
	struct io_tlb_mem *full;
	struct io_tlb_pool *pool;
	dma_addr_t addr;
	phys_addr_t phys;
	size_t used;
	void *buf;

	full = kunit_kzalloc(test, sizeof(*full), GFP_KERNEL);
	buf = kunit_kzalloc(test, PAGE_SIZE, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, full);
	KUNIT_ASSERT_NOT_NULL(test, buf);
	memset(buf, 0x55, PAGE_SIZE);
	full->can_grow = true;
	full->cc_shared = true;
	full->nslabs = IO_TLB_SEGSIZE;
	full->phys_limit = DMA_BIT_MASK(64);
	spin_lock_init(&full->lock);
	INIT_LIST_HEAD(&full->pools);
	INIT_WORK(&full->dyn_alloc, do_not_grow);

	used = pools_used();
	ctx->dev->dma_io_tlb_mem = full;
	addr = swiotlb_map(ctx->dev, virt_to_phys(buf), PAGE_SIZE,
			   DMA_TO_DEVICE, 0);
	KUNIT_EXPECT_NE(test, addr, DMA_MAPPING_ERROR);
	if (addr == DMA_MAPPING_ERROR)
		goto out;
	phys = dma_to_phys(ctx->dev, addr);
	KUNIT_EXPECT_GT(test, pools_used(), used);
	pool = swiotlb_find_pool(ctx->dev, phys);
	KUNIT_EXPECT_NOT_NULL(test, pool);
	if (pool) {
		bool cached = pool->vaddr == phys_to_virt(pool->start);

		KUNIT_EXPECT_EQ(test, cached, !ctx->platform->noncoherent ||
				!IS_ENABLED(CONFIG_DMA_DIRECT_REMAP));
		KUNIT_EXPECT_EQ(test, 0, memcmp(pool->vaddr + (phys - pool->start),
						buf, PAGE_SIZE));
	}
	swiotlb_tbl_unmap_single(ctx->dev, phys, PAGE_SIZE, DMA_TO_DEVICE, 0);
	/* it is freed in the background, not before nobody can look at it */
	while (pools_used() != used && patience--)
		msleep(20);
	KUNIT_EXPECT_EQ(test, pools_used(), used);
	KUNIT_EXPECT_EQ(test, ctx->shares, 0);
	KUNIT_EXPECT_EQ(test, ctx->unshares, 0);
out:
	flush_work(&full->dyn_alloc);
	swiotlb_dev_init(ctx->dev);
}

/*
 * When the bounce buffers run out where one must not sleep, the memory of an
 * atomic pool takes their place. It is used as its device sees it.
 */
static void transient_pool_is_used_as_its_device_sees_it(struct kunit *test)
{
	need_atomic_pool(test);
	bounce_by_transient_pool(test);
}

/* So it does on a host that encrypts its memory, also for who can reach that. */
static void transient_pool_of_a_host_is_not_decrypted(struct kunit *test)
{
	struct dma_test *ctx = test->priv;

	if (!ctx->platform->alias)
		kunit_skip(test, "no host is like that");

	need_atomic_pool(test);
	ctx->is_host = true;
	ctx->trusted = ctx->dev;
	bounce_by_transient_pool(test);
}
#endif

KUNIT_ARRAY_PARAM_DESC(dma_platform, dma_platforms, name);
#define CASE(name) KUNIT_CASE_PARAM(name, dma_platform_gen_params)

static struct kunit_case dma_pool_cases[] = {
	CASE(atomic_coherent_goes_back_to_pool),
	CASE(atomic_pages_go_back_to_pool),
	CASE(atomic_pages_of_all_sizes_go_back),
	CASE(other_pools_serve_without_some),
	CASE(other_pages_do_not_go_to_pool),
	CASE(refused_share_does_not_expand_pool),
	CASE(failed_expansion_leaves_nothing),
	CASE(pools_wait_for_a_device_that_needs_them),
	CASE(who_has_not_prepared_is_served_next_time),
	CASE(who_does_io_does_not_wait_for_pools),
	CASE(pools_that_are_refused_wait_on),
	CASE(pools_that_are_always_refused_are_given_up),
#ifdef CONFIG_SWIOTLB_DYNAMIC
	CASE(transient_pool_is_used_as_its_device_sees_it),
	CASE(transient_pool_of_a_host_is_not_decrypted),
#endif
	{ }
};

static struct kunit_suite dma_pool_suite = {
	.name = "dma_pool",
	.init = dma_test_init,
	.exit = dma_test_exit,
	.test_cases = dma_pool_cases,
};

/* The pools are replaced here, which is not possible once the kernel has booted. */
kunit_test_init_section_suite(dma_pool_suite);
