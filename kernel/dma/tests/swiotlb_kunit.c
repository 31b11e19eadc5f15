// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit suite for streaming DMA through a restricted pool: where the device's
 * copy lies, how it is addressed, what is copied and that slots come back.
 *
 * Included by swiotlb.c.
 */
#include <kunit/static_stub.h>
#include <kunit/test.h>
#include <linux/dma-direct.h>
#include <linux/dma-mapping.h>
#include <linux/mm.h>
#include <linux/sizes.h>
#include <linux/swiotlb.h>

#include "platform.h"

const struct reserved_mem_ops *dma_test_pool_ops(void)
{
	return &rmem_swiotlb_ops;
}

/* Number of the restricted pool's slots in use. */
unsigned long dma_test_used(struct dma_test *ctx)
{
	return mem_used(ctx->rmem.priv);
}

static const size_t sizes[] = { 1, 64, SZ_2K, SZ_4K, SZ_4K + 1, SZ_64K };

#define POOL_SIZE	(16 * PAGE_SIZE)

static void *device_view(struct dma_test *ctx, dma_addr_t addr)
{
	return phys_to_virt(dma_to_phys(ctx->dev, addr));
}

/* Maps @size bytes at @buf, and checks what holds for every mapping. */
static dma_addr_t map(struct kunit *test, void *buf, size_t size,
		      enum dma_data_direction dir)
{
	struct dma_test *ctx = test->priv;
	dma_addr_t addr = dma_map_single(ctx->dev, buf, size, dir);
	phys_addr_t phys;

	KUNIT_ASSERT_FALSE(test, dma_mapping_error(ctx->dev, addr));
	phys = dma_to_phys(ctx->dev, addr);
	KUNIT_EXPECT_TRUE(test, dma_test_in_pool(ctx, phys, size));
	KUNIT_EXPECT_EQ(test, addr, ctx->platform->force ?
			dma_test_shared_addr(ctx, phys) : phys);
	KUNIT_EXPECT_GT(test, dma_test_used(ctx), 0);
	return addr;
}

static void bounced_data_goes_both_ways(struct kunit *test)
{
	struct dma_test *ctx = test->priv;
	unsigned long shares;
	unsigned int i;
	dma_addr_t addr;
	u8 *buf;

	dma_test_restricted_pool(test, SZ_256K);
	shares = ctx->shares;
	buf = kunit_kmalloc(test, SZ_64K, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, buf);

	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		memset(buf, 0x11, sizes[i]);
		addr = map(test, buf, sizes[i], DMA_TO_DEVICE);
		KUNIT_EXPECT_EQ(test, 0, memcmp(device_view(ctx, addr), buf,
						sizes[i]));
		dma_unmap_single(ctx->dev, addr, sizes[i], DMA_TO_DEVICE);
		KUNIT_EXPECT_EQ(test, dma_test_used(ctx), 0);

		addr = map(test, buf, sizes[i], DMA_FROM_DEVICE);
		memset(device_view(ctx, addr), 0x22, sizes[i]);
		dma_unmap_single(ctx->dev, addr, sizes[i], DMA_FROM_DEVICE);
		KUNIT_EXPECT_NULL(test, memchr_inv(buf, 0x22, sizes[i]));
		KUNIT_EXPECT_EQ(test, dma_test_used(ctx), 0);
	}
	KUNIT_EXPECT_EQ(test, ctx->shares, shares);
	KUNIT_EXPECT_EQ(test, ctx->unshares, 0);
}

static void sync_copies_without_unmapping(struct kunit *test)
{
	struct dma_test *ctx = test->priv;
	dma_addr_t addr;
	u8 *buf;

	dma_test_restricted_pool(test, POOL_SIZE);
	buf = kunit_kzalloc(test, SZ_4K, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, buf);

	addr = map(test, buf, SZ_4K, DMA_BIDIRECTIONAL);
	memset(buf, 0x33, SZ_4K);
	dma_sync_single_for_device(ctx->dev, addr, SZ_4K, DMA_BIDIRECTIONAL);
	KUNIT_EXPECT_NULL(test, memchr_inv(device_view(ctx, addr), 0x33, SZ_4K));
	memset(device_view(ctx, addr), 0x44, SZ_4K);
	dma_sync_single_for_cpu(ctx->dev, addr, SZ_4K, DMA_BIDIRECTIONAL);
	KUNIT_EXPECT_NULL(test, memchr_inv(buf, 0x44, SZ_4K));
	dma_unmap_single(ctx->dev, addr, SZ_4K, DMA_BIDIRECTIONAL);
	KUNIT_EXPECT_EQ(test, dma_test_used(ctx), 0);
}

/*
 * What a device is to write is not shown to the host: what was in the buffer is
 * private, and what was in the slots may be another driver's.
 */
static void host_sees_only_what_is_meant_for_it(struct kunit *test)
{
	static const unsigned long attrs[] = { 0, DMA_ATTR_SKIP_CPU_SYNC };
	struct dma_test *ctx = test->priv;
	u8 left = ctx->platform->force ? 0 : 0x77;
	const size_t pool = min_t(size_t, POOL_SIZE, SZ_256K);
	const size_t size = 3 * SZ_2K - 100;
	dma_addr_t addr;
	unsigned int i;
	u8 *buf;

	dma_test_restricted_pool(test, pool);
	buf = kunit_kzalloc(test, pool, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, buf);

	/* another driver has used all slots, by the largest of mappings */
	memset(buf, 0x99, pool);
	addr = map(test, buf, pool, DMA_TO_DEVICE);
	dma_unmap_single(ctx->dev, addr, pool, DMA_TO_DEVICE);

	for (i = 0; i < ARRAY_SIZE(attrs); i++) {
		memset(buf, 0x77, SZ_8K);
		addr = dma_map_single_attrs(ctx->dev, buf + 100, size,
					    DMA_FROM_DEVICE, attrs[i]);
		KUNIT_ASSERT_FALSE(test, dma_mapping_error(ctx->dev, addr));
		KUNIT_EXPECT_NULL(test, memchr_inv(device_view(ctx, addr), left,
						   size));
		memset(device_view(ctx, addr), 0x88, SZ_1K);
		dma_unmap_single(ctx->dev, addr, size, DMA_FROM_DEVICE);
		KUNIT_EXPECT_NULL(test, memchr_inv(buf, 0x77, 100));
		KUNIT_EXPECT_NULL(test, memchr_inv(buf + 100 + size, 0x77,
						   SZ_8K - size - 100));
		KUNIT_EXPECT_NULL(test, memchr_inv(buf + 100, 0x88, SZ_1K));
		KUNIT_EXPECT_NULL(test, memchr_inv(buf + 100 + SZ_1K, left,
						   size - SZ_1K));
	}
}

/* Who wants the rest of a buffer kept, and the host see it, can say so. */
static void partial_write_of_bidirectional_keeps_the_rest(struct kunit *test)
{
	struct dma_test *ctx = test->priv;
	dma_addr_t addr;
	u8 *buf;

	dma_test_restricted_pool(test, POOL_SIZE);
	buf = kunit_kzalloc(test, SZ_4K, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, buf);

	memset(buf, 0x77, SZ_4K);
	addr = map(test, buf, SZ_4K, DMA_BIDIRECTIONAL);
	memset(device_view(ctx, addr), 0x88, SZ_1K);
	dma_unmap_single(ctx->dev, addr, SZ_4K, DMA_BIDIRECTIONAL);
	KUNIT_EXPECT_NULL(test, memchr_inv(buf, 0x88, SZ_1K));
	KUNIT_EXPECT_NULL(test, memchr_inv(buf + SZ_1K, 0x77, SZ_4K - SZ_1K));
}

/* Bounce buffers and coherent memory share the slots and do not share bytes. */
static void full_pool_refuses_and_recovers(struct kunit *test)
{
	struct dma_test *ctx = test->priv;
	unsigned int n, slots = POOL_SIZE >> IO_TLB_SHIFT;
	dma_addr_t *addrs, coherent;
	void *buf, *cpu_addr;

	dma_test_restricted_pool(test, POOL_SIZE);
	addrs = kunit_kcalloc(test, slots, sizeof(*addrs), GFP_KERNEL);
	buf = kunit_kzalloc(test, SZ_2K, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, addrs);
	KUNIT_ASSERT_NOT_NULL(test, buf);

	cpu_addr = dma_alloc_coherent(ctx->dev, PAGE_SIZE, &coherent,
				      GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, cpu_addr);
	memset(buf, 0x55, SZ_2K);

	for (n = 0; n < slots; n++) {
		addrs[n] = dma_map_single_attrs(ctx->dev, buf, SZ_2K,
						DMA_TO_DEVICE,
						DMA_ATTR_NO_WARN);
		if (dma_mapping_error(ctx->dev, addrs[n]))
			break;
	}
	KUNIT_EXPECT_EQ(test, n, slots - (PAGE_SIZE >> IO_TLB_SHIFT));
	KUNIT_EXPECT_EQ(test, dma_test_used(ctx), slots);
	KUNIT_EXPECT_NULL(test, memchr_inv(cpu_addr, 0, PAGE_SIZE));

	while (n--)
		dma_unmap_single(ctx->dev, addrs[n], SZ_2K, DMA_TO_DEVICE);
	KUNIT_EXPECT_EQ(test, dma_test_used(ctx), PAGE_SIZE >> IO_TLB_SHIFT);
	dma_free_coherent(ctx->dev, PAGE_SIZE, cpu_addr, coherent);
	KUNIT_EXPECT_EQ(test, dma_test_used(ctx), 0);

	addrs[0] = map(test, buf, SZ_2K, DMA_TO_DEVICE);
	dma_unmap_single(ctx->dev, addrs[0], SZ_2K, DMA_TO_DEVICE);
}

/*
 * A pool may end within a segment. What its table of slots has behind the last
 * one, here what another pool has free, is not its own.
 */
static void pool_ends_with_its_last_slot(struct kunit *test)
{
	const unsigned int others = 2, slots = (POOL_SIZE >> IO_TLB_SHIFT) - others;
	struct dma_test *ctx = test->priv;
	unsigned int i, first = 0, last = 0;
	struct io_tlb_pool *pool;
	dma_addr_t *addrs, addr;
	void *buf;

	dma_test_restricted_pool(test, POOL_SIZE);
	addrs = kunit_kcalloc(test, slots, sizeof(*addrs), GFP_KERNEL);
	buf = kunit_kzalloc(test, SZ_4K, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, addrs);
	KUNIT_ASSERT_NOT_NULL(test, buf);

	pool = &((struct io_tlb_mem *)ctx->rmem.priv)->defpool;
	pool->nslabs -= others;
	pool->area_nslabs -= others;
	for (i = 0; i < slots; i++)
		pool->slots[i].list = min(pool->slots[i].list, slots - i);

	for (i = 0; i < slots; i++) {
		addrs[i] = map(test, buf, SZ_2K, DMA_TO_DEVICE);
		if (addrs[i] < addrs[first])
			first = i;
		if (addrs[i] > addrs[last])
			last = i;
	}
	/* two slots are free, and not in a row */
	dma_unmap_single(ctx->dev, addrs[first], SZ_2K, DMA_TO_DEVICE);
	dma_unmap_single(ctx->dev, addrs[last], SZ_2K, DMA_TO_DEVICE);
	addr = dma_map_single_attrs(ctx->dev, buf, SZ_2K + SZ_1K, DMA_TO_DEVICE,
				    DMA_ATTR_NO_WARN);
	KUNIT_EXPECT_TRUE(test, dma_mapping_error(ctx->dev, addr));

	for (i = 0; i < slots; i++)
		if (i != first && i != last)
			dma_unmap_single(ctx->dev, addrs[i], SZ_2K, DMA_TO_DEVICE);
	KUNIT_EXPECT_EQ(test, dma_test_used(ctx), 0);
}

/* A buffer that was mapped by way of the pool finds its way back to it. */
static void unmap_after_release(struct kunit *test)
{
	struct dma_test *ctx = test->priv;
	dma_addr_t addr;
	u8 *buf;

	dma_test_restricted_pool(test, POOL_SIZE);
	buf = kunit_kzalloc(test, SZ_4K, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, buf);

	addr = map(test, buf, SZ_4K, DMA_FROM_DEVICE);
	memset(device_view(ctx, addr), 0x66, SZ_4K);
	if (ctx->rmem.ops->device_release)
		ctx->rmem.ops->device_release(&ctx->rmem, ctx->dev);
	dma_unmap_single(ctx->dev, addr, SZ_4K, DMA_FROM_DEVICE);
	KUNIT_EXPECT_NULL(test, memchr_inv(buf, 0x66, SZ_4K));
	KUNIT_EXPECT_EQ(test, dma_test_used(ctx), 0);
}

/* The bounce buffers of a device that may reach private memory are private. */
static void private_pool_bounces_privately(struct kunit *test)
{
	struct dma_test *ctx = test->priv;
	dma_addr_t addr;
	u8 *buf;

	if (!ctx->platform->alias)
		kunit_skip(test, "the address does not tell");

	ctx->trusted = ctx->dev;
	dma_test_restricted_pool(test, POOL_SIZE);
	buf = kunit_kzalloc(test, SZ_4K, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, buf);
	addr = dma_map_single(ctx->dev, buf, SZ_4K, DMA_TO_DEVICE);
	KUNIT_ASSERT_FALSE(test, dma_mapping_error(ctx->dev, addr));
	KUNIT_EXPECT_EQ(test, addr & DMA_TEST_SHARED_BIT, 0);
	KUNIT_EXPECT_TRUE(test, dma_test_in_pool(ctx, dma_to_phys(ctx->dev, addr),
						 SZ_4K));
	dma_unmap_single(ctx->dev, addr, SZ_4K, DMA_TO_DEVICE);
	KUNIT_EXPECT_EQ(test, ctx->shares, 0);
}

/* On a host that encrypts its memory all devices bounce by what it has not. */
static void host_bounces_by_shared_memory(struct kunit *test)
{
	struct dma_test *ctx = test->priv;
	dma_addr_t addr;
	void *buf;

	if (!ctx->platform->alias)
		kunit_skip(test, "no host is like that");

	ctx->is_host = true;
	ctx->trusted = ctx->dev;
	dma_test_restricted_pool(test, POOL_SIZE);
	KUNIT_EXPECT_EQ(test, ctx->shares, POOL_SIZE / PAGE_SIZE);
	buf = kunit_kzalloc(test, SZ_4K, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, buf);
	addr = dma_map_single(ctx->dev, buf, SZ_4K, DMA_TO_DEVICE);
	KUNIT_ASSERT_FALSE(test, dma_mapping_error(ctx->dev, addr));
	KUNIT_EXPECT_EQ(test, addr,
			dma_test_shared_addr(ctx, dma_to_phys(ctx->dev, addr)));
	dma_unmap_single(ctx->dev, addr, SZ_4K, DMA_TO_DEVICE);
	KUNIT_EXPECT_EQ(test, dma_test_used(ctx), 0);
}

/* What is too large for any pool is refused at once. */
static void oversized_mapping_is_refused(struct kunit *test)
{
	struct dma_test *ctx = test->priv;
	dma_addr_t addr;
	void *buf;

	dma_test_restricted_pool(test, POOL_SIZE);
	buf = kunit_kzalloc(test, 2 * POOL_SIZE, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, buf);
	addr = dma_map_single_attrs(ctx->dev, buf, 2 * POOL_SIZE, DMA_TO_DEVICE,
				    DMA_ATTR_NO_WARN);
	KUNIT_EXPECT_TRUE(test, dma_mapping_error(ctx->dev, addr));
	KUNIT_EXPECT_EQ(test, dma_test_used(ctx), 0);
}

/*
 * What drivers are told to be the largest request fits, even if half of the
 * pool is taken and each sector of the request is a buffer of its own.
 */
static void largest_request_fits(struct kunit *test)
{
	static const size_t pool_sizes[] = {
		16 * PAGE_SIZE, 64 * PAGE_SIZE,
		256 * PAGE_SIZE, 512 * PAGE_SIZE,
	};
	struct dma_test *ctx = test->priv;
	size_t pool = pool_sizes[test->param_index % ARRAY_SIZE(pool_sizes)];
	unsigned int i, n, held;
	dma_addr_t *addrs;
	size_t size;
	void *buf;

	dma_test_restricted_pool(test, pool);
	size = dma_max_mapping_size(ctx->dev);
	KUNIT_EXPECT_EQ(test, size, min_t(size_t, pool / 8, SZ_256K));

	addrs = kunit_kcalloc(test, size / 512 + pool / PAGE_SIZE,
			      sizeof(*addrs), GFP_KERNEL);
	buf = kunit_kzalloc(test, PAGE_SIZE, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, addrs);
	KUNIT_ASSERT_NOT_NULL(test, buf);

	for (held = 0; held < pool / 2 / PAGE_SIZE; held++) {
		addrs[held] = dma_map_single(ctx->dev, buf, PAGE_SIZE,
					     DMA_TO_DEVICE);
		KUNIT_ASSERT_FALSE(test, dma_mapping_error(ctx->dev,
							   addrs[held]));
	}
	for (n = 0; n < size / 512; n++) {
		addrs[held + n] = dma_map_single(ctx->dev, buf, 512,
						 DMA_TO_DEVICE);
		if (dma_mapping_error(ctx->dev, addrs[held + n]))
			break;
	}
	KUNIT_EXPECT_EQ(test, n, size / 512);

	while (n--)
		dma_unmap_single(ctx->dev, addrs[held + n], 512,
				 DMA_TO_DEVICE);
	for (i = 0; i < held; i++)
		dma_unmap_single(ctx->dev, addrs[i], PAGE_SIZE, DMA_TO_DEVICE);
	KUNIT_EXPECT_EQ(test, dma_test_used(ctx), 0);
}

/* Where there is no pool nothing is bounced, so a pool sets no limit. */
static void no_pool_is_no_limit(struct kunit *test)
{
	struct dma_test *ctx = test->priv;
	struct io_tlb_mem none = {};

	ctx->dev->dma_io_tlb_mem = &none;
	KUNIT_EXPECT_EQ(test, swiotlb_max_mapping_size(ctx->dev), SZ_256K);
	swiotlb_dev_init(ctx->dev);
}

/* A device without a pool of its own is given what the host can see. */
static void default_pool_is_shared(struct kunit *test)
{
	struct dma_test *ctx = test->priv;
	dma_addr_t addr;
	u8 *buf;

	if (!ctx->platform->real)
		kunit_skip(test, "the default pool is not simulated");

	buf = kunit_kzalloc(test, SZ_4K, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, buf);
	addr = dma_map_single(ctx->dev, buf, SZ_4K, DMA_TO_DEVICE);
	KUNIT_ASSERT_FALSE(test, dma_mapping_error(ctx->dev, addr));
	KUNIT_EXPECT_NE(test, dma_to_phys(ctx->dev, addr), virt_to_phys(buf));
	KUNIT_EXPECT_TRUE(test, dma_test_is_shared(ctx, dma_to_phys(ctx->dev, addr)));
	dma_unmap_single(ctx->dev, addr, SZ_4K, DMA_TO_DEVICE);
}

#ifdef CONFIG_SWIOTLB_DYNAMIC
#ifdef __DMA_ATTR_ALLOC_CC_SHARED
#define alloc_dma_pages(...) \
	alloc_dma_pages(__VA_ARGS__, __DMA_ATTR_ALLOC_CC_SHARED)
#define swiotlb_free_tlb(...) \
	swiotlb_free_tlb(__VA_ARGS__, true)

#endif
/* Return: false if it was not even tried to share a page. */
static bool lose_page_to_grow_with(struct kunit *test)
{
	struct dma_test *ctx = test->priv;

	ctx->refuse_share = 1;
	ctx->refuse_unshare = 1;
	KUNIT_EXPECT_NULL(test, alloc_dma_pages(GFP_KERNEL, PAGE_SIZE,
						DMA_BIT_MASK(64)));
	if (ctx->refuse_share) {
		ctx->refuse_share = 0;
		ctx->refuse_unshare = 0;
		return false;
	}
	KUNIT_ASSERT_EQ(test, ctx->refuse_unshare, 0);
	KUNIT_ASSERT_EQ(test, page_count(ctx->last_refused), 1);
	__free_page(ctx->last_refused);
	return true;
}

/*
 * What is lost in an attempt to grow is lost at each shortage, so there is an
 * end to it. But what is lost now and then does not end it, nor does what is
 * refused and not lost.
 */
static void growth_that_is_always_refused_is_given_up(struct kunit *test)
{
	struct dma_test *ctx = test->priv;
	struct page *page;
	unsigned int n;

	if (ctx->platform->real)
		kunit_skip(test, "nothing is refused");

	atomic_set(&dma_pages_leaks, 0);
	for (n = 1; n < DMA_PAGES_LEAKS; n++)
		KUNIT_EXPECT_TRUE(test, lose_page_to_grow_with(test));
	if (!ctx->platform->once) {
		ctx->refuse_share = 1;
		KUNIT_EXPECT_NULL(test, alloc_dma_pages(GFP_KERNEL, PAGE_SIZE,
							DMA_BIT_MASK(64)));
		KUNIT_EXPECT_EQ(test, ctx->refuse_share, 0);
	}

	page = alloc_dma_pages(GFP_KERNEL, PAGE_SIZE, DMA_BIT_MASK(64));
	KUNIT_EXPECT_NOT_NULL(test, page);
	if (page)
		swiotlb_free_tlb(page_address(page), PAGE_SIZE);

	for (n = 0; n < 2 * DMA_PAGES_LEAKS; n++)
		if (!lose_page_to_grow_with(test))
			break;
	KUNIT_EXPECT_EQ(test, n, DMA_PAGES_LEAKS);
	atomic_set(&dma_pages_leaks, 0);
}
#endif

/*
 * The default pool is made, and torn down, by code that is there while the
 * kernel boots only. That of this machine is put aside meanwhile.
 */
static struct {
	struct io_tlb_mem mem;
	unsigned long nslabs;
	unsigned long nareas;
} machine __initdata;

static void __init put_back_default_pool(void *unused)
{
	io_tlb_default_mem = machine.mem;
	default_nslabs = machine.nslabs;
	default_nareas = machine.nareas;
}

static void __init put_default_pool_aside(struct kunit *test)
{
	struct dma_test *ctx = test->priv;

	if (!ctx->platform->force || ctx->platform->real)
		kunit_skip(test, "nothing to refuse");
	if (io_tlb_default_mem.force_bounce || mem_used(&io_tlb_default_mem))
		kunit_skip(test, "the default pool is in use");

	machine.mem = io_tlb_default_mem;
	machine.nslabs = default_nslabs;
	machine.nareas = default_nareas;
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action(test, put_back_default_pool,
						  NULL));
	io_tlb_default_mem.nslabs = 0;
	memset(&io_tlb_default_mem.defpool, 0,
	       sizeof(io_tlb_default_mem.defpool));
#ifdef CONFIG_SWIOTLB_DYNAMIC
	INIT_LIST_HEAD(&io_tlb_default_mem.pools);
	io_tlb_default_mem.can_grow = false;
#endif
#ifdef __DMA_ATTR_ALLOC_CC_SHARED
	io_tlb_default_mem.cc_shared = true;
#endif
}

#define EARLY_POOL_ORDER	5
#define EARLY_POOL_SLOTS	((PAGE_SIZE << EARLY_POOL_ORDER) >> IO_TLB_SHIFT)

/* Less than a page and not at its start, so that they cannot be freed. */
struct early_tables {
	unsigned long start_of_page;
	struct io_tlb_area area;
	struct io_tlb_slot slots[EARLY_POOL_SLOTS];
};

/* A default pool as there is one early in the boot, and not shared yet. */
static struct page *__init early_default_pool(struct kunit *test)
{
	struct io_tlb_pool *pool = &io_tlb_default_mem.defpool;
	struct early_tables *tables;
	struct page *pages;

	put_default_pool_aside(test);
	tables = kunit_kzalloc(test, sizeof(*tables), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, tables);
	pages = alloc_pages(GFP_KERNEL, EARLY_POOL_ORDER);
	KUNIT_ASSERT_NOT_NULL(test, pages);
	pool->areas = &tables->area;
	pool->slots = tables->slots;
	swiotlb_init_io_tlb_pool(pool, page_to_phys(pages), page_address(pages),
				 EARLY_POOL_SLOTS, false, 1);
	add_mem_pool(&io_tlb_default_mem, pool);
	return pages;
}

static void __init refused_early_default_pool_is_not_used(struct kunit *test)
{
	struct dma_test *ctx = test->priv;
	struct page *pages = early_default_pool(test);
	dma_addr_t addr;

	ctx->refuse_share = 3;
	swiotlb_update_mem_attributes();
	KUNIT_EXPECT_EQ(test, ctx->refuse_share, 0);
#ifdef __DMA_ATTR_ALLOC_CC_SHARED
	/* the pool is there, and full */
#else
	KUNIT_EXPECT_FALSE(test, is_swiotlb_active(ctx->dev));
	KUNIT_EXPECT_FALSE(test, is_swiotlb_allocated());
#endif
	addr = swiotlb_map(ctx->dev, page_to_phys(pages), PAGE_SIZE,
			   DMA_TO_DEVICE, DMA_ATTR_NO_WARN);
	KUNIT_EXPECT_EQ(test, addr, DMA_MAPPING_ERROR);

	xa_destroy(&ctx->shared);
	__free_pages(pages, EARLY_POOL_ORDER);
}

#define LATE_POOL_SIZE	SZ_2M
#define LATE_POOL_ORDER	get_order(LATE_POOL_SIZE)

static void __init refused_late_default_pool_is_not_used(struct kunit *test)
{
	struct dma_test *ctx = test->priv;

	put_default_pool_aside(test);
	ctx->refuse_share = 3;
	KUNIT_EXPECT_NE(test, 0, swiotlb_init_late(LATE_POOL_SIZE, GFP_KERNEL, NULL));
	KUNIT_EXPECT_EQ(test, ctx->refuse_share, 0);
	KUNIT_EXPECT_FALSE(test, is_swiotlb_allocated());

	/* what may be shared is nobody's, and so the test's */
	KUNIT_ASSERT_EQ(test, page_count(ctx->last_shared), 1);
	xa_destroy(&ctx->shared);
	__free_pages(ctx->last_shared, LATE_POOL_ORDER);
}

/* There are two ways to free the default pool, by how it was made. */
static void __init expect_exit_leaks(struct kunit *test, unsigned int order)
{
	struct dma_test *ctx = test->priv;

	KUNIT_EXPECT_EQ(test, ctx->shares, 1 << order);
	ctx->refuse_unshare = 3;
	swiotlb_exit();
	KUNIT_EXPECT_EQ(test, ctx->refuse_unshare, 0);
	KUNIT_ASSERT_EQ(test, page_count(ctx->last_shared), 1);

	xa_destroy(&ctx->shared);
	__free_pages(ctx->last_shared, order);
}

static void __init default_pool_that_stays_shared_is_not_freed(struct kunit *test)
{
	if (swiotlb_force_bounce || swiotlb_force_disable)
		kunit_skip(test, "the command line has it otherwise");

	early_default_pool(test);
	swiotlb_update_mem_attributes();
	expect_exit_leaks(test, EARLY_POOL_ORDER);
}

static void __init late_default_pool_that_stays_shared_is_not_freed(struct kunit *test)
{
	if (swiotlb_force_bounce || swiotlb_force_disable)
		kunit_skip(test, "the command line has it otherwise");

	put_default_pool_aside(test);
	KUNIT_ASSERT_EQ(test, 0, swiotlb_init_late(LATE_POOL_SIZE, GFP_KERNEL, NULL));
	expect_exit_leaks(test, LATE_POOL_ORDER);
}

/* A device without a pool of its own is given the address of what is shared. */
static void __init default_pool_is_addressed_as_shared(struct kunit *test)
{
	struct dma_test *ctx = test->priv;
	dma_addr_t addr;
	void *buf;

	if (swiotlb_force_bounce || swiotlb_force_disable)
		kunit_skip(test, "the command line has it otherwise");

	put_default_pool_aside(test);
	buf = kunit_kzalloc(test, SZ_2K, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, buf);
	KUNIT_ASSERT_EQ(test, 0, swiotlb_init_late(LATE_POOL_SIZE, GFP_KERNEL, NULL));
	addr = swiotlb_map(ctx->dev, virt_to_phys(buf), SZ_2K, DMA_TO_DEVICE, 0);
	KUNIT_EXPECT_NE(test, addr, DMA_MAPPING_ERROR);
	if (addr != DMA_MAPPING_ERROR) {
		phys_addr_t phys = dma_to_phys(ctx->dev, addr);

		KUNIT_EXPECT_EQ(test, addr, dma_test_shared_addr(ctx, phys));
		swiotlb_tbl_unmap_single(ctx->dev, phys, SZ_2K, DMA_TO_DEVICE, 0);
	}
	swiotlb_exit();
	KUNIT_EXPECT_EQ(test, ctx->unshares, ctx->shares);
}

KUNIT_ARRAY_PARAM_DESC(dma_platform, dma_platforms, name);
#define CASE(name) KUNIT_CASE_PARAM(name, dma_platform_gen_params)

static struct kunit_case __refdata dma_swiotlb_init_cases[] = {
	CASE(refused_early_default_pool_is_not_used),
	CASE(refused_late_default_pool_is_not_used),
	CASE(default_pool_that_stays_shared_is_not_freed),
	CASE(late_default_pool_that_stays_shared_is_not_freed),
	CASE(default_pool_is_addressed_as_shared),
	{ }
};

static struct kunit_suite dma_swiotlb_init_suite = {
	.name = "dma_swiotlb_init",
	.init = dma_test_init,
	.exit = dma_test_exit,
	.test_cases = dma_swiotlb_init_cases,
};

kunit_test_init_section_suite(dma_swiotlb_init_suite);

static struct kunit_case dma_swiotlb_cases[] = {
	CASE(bounced_data_goes_both_ways),
	CASE(sync_copies_without_unmapping),
	CASE(host_sees_only_what_is_meant_for_it),
	CASE(partial_write_of_bidirectional_keeps_the_rest),
	CASE(full_pool_refuses_and_recovers),
	CASE(pool_ends_with_its_last_slot),
	CASE(unmap_after_release),
	CASE(oversized_mapping_is_refused),
	CASE(private_pool_bounces_privately),
	CASE(host_bounces_by_shared_memory),
	CASE(largest_request_fits),
	CASE(no_pool_is_no_limit),
	CASE(default_pool_is_shared),
#ifdef CONFIG_SWIOTLB_DYNAMIC
	CASE(growth_that_is_always_refused_is_given_up),
#endif
	{ }
};

static struct kunit_suite dma_swiotlb_suite = {
	.name = "dma_swiotlb",
	.init = dma_test_init,
	.exit = dma_test_exit,
	.test_cases = dma_swiotlb_cases,
};

kunit_test_suite(dma_swiotlb_suite);
