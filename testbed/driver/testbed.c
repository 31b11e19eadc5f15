// SPDX-License-Identifier: GPL-2.0
/*
 * A driver whose device does no work: user space says what it allocates and
 * maps, and the test bed's VMM is the device.  It uses the DMA API as any
 * driver would, that is its exported functions and nothing else of kernel/dma.
 */
#include <linux/arm-smccc.h>
#include <linux/device.h>
#include <linux/dma-mapping.h>
#include <linux/fs.h>
#include <linux/ktime.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/of.h>
#include <linux/of_reserved_mem.h>
#include <linux/platform_device.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/string.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>
#include <linux/workqueue.h>

#include "testbed.h"
#include "canary.h"

struct slot {
	u32 kind;
	u32 flags;
	size_t size, offset;
	u64 secret;
	u8 *room;		/* of a mapping: whole pages that hold the buffer */
	size_t room_size;
	void *cpu;
	struct page *page;
	dma_addr_t dma;
	struct sg_table *sgt;
	struct sg_table own_sgt;
};

struct testbed {
	struct device *dev;
	struct miscdevice misc;
	struct mutex lock;	/* covers the slots */
	spinlock_t atomic;	/* makes an atomic context, protects nothing */
	bool own_memory;
	struct slot slots[TESTBED_SLOTS];
};

static enum dma_data_direction direction(const struct slot *s)
{
	if (s->flags & TESTBED_TO_DEVICE)
		return DMA_TO_DEVICE;
	if (s->flags & TESTBED_FROM_DEVICE)
		return DMA_FROM_DEVICE;
	return DMA_BIDIRECTIONAL;
}

static unsigned long attrs(const struct slot *s)
{
	return s->flags & TESTBED_SKIP_SYNC ? DMA_ATTR_SKIP_CPU_SYNC : 0;
}

/* Is what the buffer holds for the device to read, from the beginning? */
static bool is_for_device(const struct slot *s)
{
	return !(s->flags & (TESTBED_FROM_DEVICE | TESTBED_SKIP_SYNC));
}

static int get_coherent(struct testbed *tb, struct slot *s, gfp_t gfp)
{
	s->cpu = dma_alloc_coherent(tb->dev, s->size, &s->dma, gfp);
	return s->cpu ? 0 : -ENOMEM;
}

static int get_no_mapping(struct testbed *tb, struct slot *s, gfp_t gfp)
{
	/* The return value is a cookie, not an address */
	s->page = dma_alloc_attrs(tb->dev, s->size, &s->dma, gfp,
				  DMA_ATTR_NO_KERNEL_MAPPING);
	return s->page ? 0 : -ENOMEM;
}

static int get_pages(struct testbed *tb, struct slot *s, gfp_t gfp)
{
	s->page = dma_alloc_pages(tb->dev, s->size, &s->dma, direction(s), gfp);
	if (!s->page)
		return -ENOMEM;
	s->cpu = page_address(s->page);
	return 0;
}

static int get_noncontiguous(struct testbed *tb, struct slot *s, gfp_t gfp)
{
	s->sgt = dma_alloc_noncontiguous(tb->dev, s->size, direction(s), gfp, 0);
	if (!s->sgt)
		return -ENOMEM;
	s->cpu = dma_vmap_noncontiguous(tb->dev, s->size, s->sgt);
	if (s->cpu)
		return 0;
	dma_free_noncontiguous(tb->dev, s->size, s->sgt, direction(s));
	return -ENOMEM;
}

static int map_single(struct testbed *tb, struct slot *s)
{
	s->dma = dma_map_single_attrs(tb->dev, s->cpu, s->size, direction(s),
				      attrs(s));
	return dma_mapping_error(tb->dev, s->dma) ? -EIO : 0;
}

static int map_sg(struct testbed *tb, struct slot *s)
{
	return dma_map_sgtable(tb->dev, s->sgt, direction(s), attrs(s));
}

/* Pages for a mapping, each an entry of its own in the scatterlist */
static int alloc_sg(struct slot *s)
{
	unsigned int n = DIV_ROUND_UP(s->size, PAGE_SIZE), i;
	struct scatterlist *sg;
	struct page **pages;
	int err;

	pages = kcalloc(n, sizeof(*pages), GFP_KERNEL);
	if (!pages)
		return -ENOMEM;
	err = sg_alloc_table(&s->own_sgt, n, GFP_KERNEL);
	if (err)
		goto free_array;
	err = -ENOMEM;
	for_each_sgtable_sg(&s->own_sgt, sg, i) {
		pages[i] = alloc_page(GFP_KERNEL | __GFP_ZERO);
		if (!pages[i])
			goto free_pages;
		sg_set_page(sg, pages[i], min_t(size_t, PAGE_SIZE,
						s->size - i * PAGE_SIZE), 0);
	}
	s->cpu = vmap(pages, n, VM_MAP, PAGE_KERNEL);
	if (!s->cpu)
		goto free_pages;
	s->sgt = &s->own_sgt;
	kfree(pages);
	return 0;

free_pages:
	for (i = 0; i < n && pages[i]; i++)
		__free_page(pages[i]);
	sg_free_table(&s->own_sgt);
free_array:
	kfree(pages);
	return err;
}

static void free_sg(struct slot *s)
{
	struct scatterlist *sg;
	unsigned int i;

	vunmap(s->cpu);
	for_each_sgtable_sg(&s->own_sgt, sg, i)
		__free_page(sg_page(sg));
	sg_free_table(&s->own_sgt);
}

/* What a mapping maps; an allocation needs none */
static int slot_get_buffer(struct slot *s)
{
	if (s->kind == TESTBED_SG) {
		int err = alloc_sg(s);

		s->room = s->cpu;
		return err;
	}
	if (s->kind == TESTBED_SINGLE) {
		s->room = alloc_pages_exact(s->offset + s->size,
					    GFP_KERNEL | __GFP_ZERO);
		s->cpu = s->room + s->offset;
		return s->room ? 0 : -ENOMEM;
	}
	return 0;
}

static void slot_put_buffer(struct slot *s)
{
	if (s->kind == TESTBED_SG)
		free_sg(s);
	if (s->kind == TESTBED_SINGLE)
		free_pages_exact(s->room, s->offset + s->size);
}

/*
 * Leaves the canary in the pages that an allocation of this size gets next, as
 * the allocator gives out first what has come back last.
 */
static void leave_secret(struct slot *s)
{
	unsigned int order = get_order(s->size);
	struct page *page = alloc_pages(GFP_KERNEL | __GFP_NOWARN, order);

	if (!page)
		return;
	memset64(page_address(page), s->secret, (PAGE_SIZE << order) / sizeof(u64));
	__free_pages(page, order);
}

/* What is for the device is put there on purpose; all else is a secret */
static void fill_room(struct slot *s)
{
	memset64((u64 *)s->room, s->secret, s->room_size / sizeof(u64));
	if (is_for_device(s))
		pattern_fill(s->cpu, s->size, s->secret);
}

static u8 pattern_byte(u64 seed, size_t offset)
{
	return pattern_word(seed, offset / 8) >> 8 * (offset % 8);
}

/* What the driver finds when the mapping is gone */
static void check_room(const struct slot *s, struct testbed_op *op)
{
	size_t i;

	op->wrong = 0;
	op->foreign = 0;
	op->around = 0;
	for (i = 0; i < s->room_size; i++) {
		u8 byte = s->room[i], own = canary_byte(s->secret, i);
		size_t at = i - s->offset;

		if (i < s->offset || at >= s->size) {
			op->around += byte != own;
		} else if (at < op->offset) {
			op->wrong += byte != pattern_byte(op->seed, at);
		} else {
			if (is_for_device(s))
				own = pattern_byte(s->secret, at);
			op->foreign += byte && byte != own;
		}
	}
}

static int slot_get_dma(struct testbed *tb, struct slot *s, gfp_t gfp)
{
	switch (s->kind) {
	case TESTBED_COHERENT:
		return get_coherent(tb, s, gfp);
	case TESTBED_NO_MAPPING:
		return get_no_mapping(tb, s, gfp);
	case TESTBED_PAGES:
		return get_pages(tb, s, gfp);
	case TESTBED_NONCONTIGUOUS:
		return get_noncontiguous(tb, s, gfp);
	case TESTBED_SINGLE:
		return map_single(tb, s);
	case TESTBED_SG:
		return map_sg(tb, s);
	}
	return -EINVAL;
}

static int slot_get(struct testbed *tb, struct slot *s, struct testbed_op *op)
{
	gfp_t gfp = op->flags & TESTBED_ATOMIC ? GFP_ATOMIC : GFP_KERNEL;
	unsigned long irq;
	int err = 0;

	if (s->kind)
		return -EBUSY;
	/* vmap() of dma_vmap_noncontiguous() may sleep */
	if (!op->size || op->size > SZ_64M ||
	    (op->kind == TESTBED_NONCONTIGUOUS && op->flags & TESTBED_ATOMIC))
		return -EINVAL;
	if (op->offset >= SZ_64K || (op->offset && op->kind != TESTBED_SINGLE))
		return -EINVAL;
	memset(s, 0, sizeof(*s));
	s->kind = op->kind;
	s->flags = op->flags;
	s->size = op->size;
	s->offset = op->offset;
	s->secret = s->flags & TESTBED_SECRET ? op->seed : 0;
	err = slot_get_buffer(s);
	s->room_size = s->room ? PAGE_ALIGN(s->offset + s->size) : 0;
	if (!err && s->secret && s->room)
		fill_room(s);
	else if (!err && s->secret)
		leave_secret(s);
	if (!err) {
		if (s->flags & TESTBED_ATOMIC)
			spin_lock_irqsave(&tb->atomic, irq);
		err = slot_get_dma(tb, s, gfp);
		if (s->flags & TESTBED_ATOMIC)
			spin_unlock_irqrestore(&tb->atomic, irq);
		if (err)
			slot_put_buffer(s);
	}
	if (err)
		s->kind = TESTBED_NONE;
	return err;
}

static void slot_put_dma(struct testbed *tb, struct slot *s)
{
	switch (s->kind) {
	case TESTBED_COHERENT:
		dma_free_coherent(tb->dev, s->size, s->cpu, s->dma);
		break;
	case TESTBED_NO_MAPPING:
		dma_free_attrs(tb->dev, s->size, s->page, s->dma,
			       DMA_ATTR_NO_KERNEL_MAPPING);
		break;
	case TESTBED_PAGES:
		dma_free_pages(tb->dev, s->size, s->page, s->dma, direction(s));
		break;
	case TESTBED_NONCONTIGUOUS:
		dma_vunmap_noncontiguous(tb->dev, s->cpu);
		dma_free_noncontiguous(tb->dev, s->size, s->sgt, direction(s));
		break;
	case TESTBED_SINGLE:
		dma_unmap_single_attrs(tb->dev, s->dma, s->size, direction(s),
				       attrs(s));
		break;
	case TESTBED_SG:
		dma_unmap_sgtable(tb->dev, s->sgt, direction(s), attrs(s));
		break;
	}
}

/* @op: where to say what an unmapped buffer holds, or NULL */
static int slot_put(struct testbed *tb, struct slot *s, struct testbed_op *op)
{
	if (!s->kind)
		return -ENOENT;
	slot_put_dma(tb, s);
	if (op && s->kind == TESTBED_SINGLE)
		op->good = pattern_check(s->cpu, s->size, op->seed);
	if (op && s->secret && s->room)
		check_room(s, op);
	slot_put_buffer(s);
	s->kind = TESTBED_NONE;
	return 0;
}

static int slot_describe(struct slot *s, struct testbed_op *op)
{
	struct scatterlist *sg;
	unsigned int i;

	op->parts = 0;
	if (!s->sgt) {
		op->dma[0] = s->dma;
		op->len[0] = s->size;
		op->parts = 1;
		return 0;
	}
	for_each_sgtable_dma_sg(s->sgt, sg, i) {
		if (i == TESTBED_SG_PARTS)
			return -E2BIG;
		op->dma[i] = sg_dma_address(sg);
		op->len[i] = sg_dma_len(sg);
		op->parts++;
	}
	return 0;
}

static int slot_sync(struct testbed *tb, struct slot *s, struct testbed_op *op,
		     bool for_cpu)
{
	enum dma_data_direction dir = direction(s);

	switch (s->kind) {
	case TESTBED_SINGLE:
	case TESTBED_PAGES:
		if (for_cpu)
			dma_sync_single_range_for_cpu(tb->dev, s->dma, op->offset,
						      op->size, dir);
		else
			dma_sync_single_range_for_device(tb->dev, s->dma,
							 op->offset, op->size, dir);
		return 0;
	case TESTBED_SG:
	case TESTBED_NONCONTIGUOUS:
		if (for_cpu)
			dma_sync_sgtable_for_cpu(tb->dev, s->sgt, dir);
		else
			dma_sync_sgtable_for_device(tb->dev, s->sgt, dir);
		return 0;
	}
	return -EINVAL;
}

static u64 bench_batch(struct testbed *tb, struct slot *s, u32 count, gfp_t gfp,
		       int *err)
{
	u64 start = ktime_get_ns();
	u32 i;

	for (i = 0; i < count && !*err; i++) {
		*err = slot_get_dma(tb, s, gfp);
		if (!*err)
			slot_put_dma(tb, s);
	}
	return ktime_get_ns() - start;
}

/* What is held while others of its kind are counted */
struct held {
	struct slot *slots;
	u32 n;
};

static void give_held(struct testbed *tb, struct held *held)
{
	while (held->n--)
		if (held->slots[held->n].kind)
			slot_put_dma(tb, held->slots + held->n);
	kvfree(held->slots);
}

static int take_held(struct testbed *tb, struct testbed_bench *b,
		     const struct slot *like, struct held *held)
{
	u32 i, left = 0;

	held->n = 0;
	held->slots = kvcalloc(b->held ?: 1, sizeof(*held->slots), GFP_KERNEL);
	if (!held->slots)
		return -ENOMEM;
	for (; held->n < b->held; held->n++) {
		struct slot *s = held->slots + held->n;

		*s = *like;
		s->size = b->held_size;
		if (slot_get_dma(tb, s, GFP_KERNEL | __GFP_NOWARN)) {
			s->kind = TESTBED_NONE;
			break;
		}
	}
	for (i = 0; i < held->n; i++) {
		if ((i + 1) * b->percent / 100 > i * b->percent / 100) {
			left++;
			continue;
		}
		slot_put_dma(tb, held->slots + i);
		held->slots[i].kind = TESTBED_NONE;
	}
	b->held = left;
	return 0;
}

static void tell_row(u64 row)
{
	struct arm_smccc_res res;

	arm_smccc_hvc(TESTBED_ROW, TESTBED_ROW_MAGIC + row, 0, 0, 0, 0, 0, 0, &res);
}

/*
 * The shortest batch is that in which neither the host's timer nor anything
 * else came between.
 */
static int bench(struct testbed *tb, struct testbed_bench *b)
{
	gfp_t gfp = b->flags & TESTBED_ATOMIC ? GFP_ATOMIC : GFP_KERNEL;
	struct slot s = { .kind = b->kind, .flags = b->flags, .size = b->size };
	struct held held;
	u32 i;
	int err = 0;

	if (!b->size || b->size > SZ_64M || !b->count || !b->batches ||
	    b->held > TESTBED_HELD_MAX || b->percent > 100)
		return -EINVAL;
	/* They are all of one buffer */
	if (b->held && (b->kind == TESTBED_SG || b->held_size > b->size))
		return -EINVAL;
	err = slot_get_buffer(&s);
	if (err)
		return err;
	err = take_held(tb, b, &s, &held);
	if (err)
		goto put_buffer;
	bench_batch(tb, &s, b->count, gfp, &err);
	tell_row(b->row);
	b->ns = U64_MAX;
	for (i = 0; i < b->batches && !err; i++)
		b->ns = min(b->ns, bench_batch(tb, &s, b->count, gfp, &err));
	tell_row(TESTBED_ROW_ENDS + b->row);
	give_held(tb, &held);
put_buffer:
	slot_put_buffer(&s);
	return err;
}

/* Pages of free memory that are only taken while nobody else can run */
#define LAST_PAGES	1024

static u64 take_pages(struct list_head *pages, u64 word, unsigned long leave)
{
	struct page *page;
	struct sysinfo si;
	u64 n = 0;

	for (;;) {
		si_meminfo(&si);
		if (si.freeram <= leave)
			break;
		page = alloc_page(GFP_NOWAIT | __GFP_MEMALLOC | __GFP_NOWARN);
		if (!page)
			break;
		memset64(page_address(page), word, PAGE_SIZE / sizeof(word));
		list_add(&page->lru, pages);
		n++;
	}
	return n;
}

static void give_pages(struct list_head *pages)
{
	struct page *page, *next;

	list_for_each_entry_safe(page, next, pages, lru) {
		list_del(&page->lru);
		__free_page(page);
	}
}

/*
 * Free pages keep what was in them.  The reserves have to be filled, too: the
 * pages below the watermark are those that are handed out first.
 */
static u64 fill_free_memory(u64 word)
{
	LIST_HEAD(pages);
	LIST_HEAD(last);
	u64 n;

	/* What vunmap() has put off is not gone, nor is KASAN's shadow of it */
	vm_unmap_aliases();
	n = take_pages(&pages, word, LAST_PAGES);
	preempt_disable();
	n += take_pages(&last, word, 0);
	give_pages(&last);
	preempt_enable();
	give_pages(&pages);
	return n;
}

static long testbed_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct testbed *tb = container_of(file->private_data, struct testbed, misc);
	struct testbed_info info;
	struct testbed_op *op;
	struct slot *s;
	long err = 0;

	if (cmd == TESTBED_IOC_INFO) {
		info.mask = dma_get_mask(tb->dev);
		info.max_mapping_size = dma_max_mapping_size(tb->dev);
		return copy_to_user((void __user *)arg, &info, sizeof(info)) ?
			-EFAULT : 0;
	}
	if (cmd == TESTBED_IOC_BENCH) {
		struct testbed_bench b;

		if (copy_from_user(&b, (void __user *)arg, sizeof(b)))
			return -EFAULT;
		err = bench(tb, &b);
		return !err && copy_to_user((void __user *)arg, &b, sizeof(b)) ?
			-EFAULT : err;
	}
	if (cmd == TESTBED_IOC_ROW) {
		u64 row;

		if (copy_from_user(&row, (void __user *)arg, sizeof(row)))
			return -EFAULT;
		tell_row(row);
		return 0;
	}
	/*
	 * Not flush_scheduled_work(), which warns that a lock may be held that
	 * some work needs: here is none.
	 */
	if (cmd == TESTBED_IOC_SETTLE) {
		__flush_workqueue(SCHEDULED_WORK);
		return 0;
	}
	op = memdup_user((void __user *)arg, sizeof(*op));
	if (IS_ERR(op))
		return PTR_ERR(op);
	mutex_lock(&tb->lock);
	if (cmd == TESTBED_IOC_FILL_FREE) {
		op->good = fill_free_memory(op->seed);
		goto out;
	}
	if (op->slot >= TESTBED_SLOTS) {
		err = -EINVAL;
		goto out;
	}
	s = tb->slots + op->slot;
	if (cmd == TESTBED_IOC_GET) {
		err = slot_get(tb, s, op);
		if (!err) {
			err = slot_describe(s, op);
			if (err)
				slot_put(tb, s, NULL);
		}
		goto out;
	}
	if (!s->kind)
		err = -ENOENT;
	else if (cmd == TESTBED_IOC_PUT)
		err = slot_put(tb, s, op);
	else if (op->size > s->size || op->offset > s->size - op->size)
		err = -ERANGE;
	else if (cmd == TESTBED_IOC_SYNC_CPU || cmd == TESTBED_IOC_SYNC_DEVICE)
		err = slot_sync(tb, s, op, cmd == TESTBED_IOC_SYNC_CPU);
	else if (!s->cpu)
		err = -ENODEV;
	else if (cmd == TESTBED_IOC_FILL)
		pattern_fill(s->cpu + op->offset, op->size, op->seed);
	else if (cmd == TESTBED_IOC_CHECK)
		op->good = pattern_check(s->cpu + op->offset, op->size, op->seed);
	else
		err = -ENOTTY;
out:
	mutex_unlock(&tb->lock);
	if (!err && copy_to_user((void __user *)arg, op, sizeof(*op)))
		err = -EFAULT;
	kfree(op);
	return err;
}

static int testbed_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct testbed *tb = container_of(file->private_data, struct testbed, misc);
	unsigned long nr = vma->vm_pgoff >> (32 - PAGE_SHIFT);
	size_t size = vma->vm_end - vma->vm_start;
	struct slot *s;
	int err;

	if (nr >= TESTBED_SLOTS)
		return -EINVAL;
	/* The DMA API takes the rest as an offset into the memory */
	vma->vm_pgoff &= (1UL << (32 - PAGE_SHIFT)) - 1;
	mutex_lock(&tb->lock);
	s = tb->slots + nr;
	switch (s->kind) {
	case TESTBED_COHERENT:
		err = dma_mmap_coherent(tb->dev, vma, s->cpu, s->dma, s->size);
		break;
	case TESTBED_NO_MAPPING:
		err = dma_mmap_attrs(tb->dev, vma, s->page, s->dma, s->size,
				     DMA_ATTR_NO_KERNEL_MAPPING);
		break;
	case TESTBED_PAGES:
		err = dma_mmap_pages(tb->dev, vma, size, s->page);
		break;
	case TESTBED_NONCONTIGUOUS:
		err = dma_mmap_noncontiguous(tb->dev, vma, s->size, s->sgt);
		break;
	default:
		err = -EINVAL;
	}
	mutex_unlock(&tb->lock);
	return err;
}

static const struct file_operations testbed_fops = {
	.owner = THIS_MODULE,
	.unlocked_ioctl = testbed_ioctl,
	.mmap = testbed_mmap,
};

static int testbed_probe(struct platform_device *pdev)
{
	struct device *dev = &pdev->dev;
	struct testbed *tb;
	u32 bits = 32;
	int err;

	tb = devm_kzalloc(dev, sizeof(*tb), GFP_KERNEL);
	if (!tb)
		return -ENOMEM;
	tb->dev = dev;
	mutex_init(&tb->lock);
	spin_lock_init(&tb->atomic);
	of_property_read_u32(dev->of_node, "testbed,mask-bits", &bits);
	err = dma_set_mask_and_coherent(dev, DMA_BIT_MASK(bits));
	if (err)
		return dev_err_probe(dev, err, "no DMA with %u bits\n", bits);
	tb->own_memory = of_property_read_bool(dev->of_node, "testbed,own-memory");
	if (tb->own_memory) {
		err = of_reserved_mem_device_init(dev);
		if (err)
			return dev_err_probe(dev, err, "no memory of its own\n");
	}
	tb->misc.minor = MISC_DYNAMIC_MINOR;
	tb->misc.name = devm_kasprintf(dev, GFP_KERNEL, "testbed-%pOFn",
				       dev->of_node);
	tb->misc.fops = &testbed_fops;
	err = tb->misc.name ? misc_register(&tb->misc) : -ENOMEM;
	if (err && tb->own_memory)
		of_reserved_mem_device_release(dev);
	platform_set_drvdata(pdev, tb);
	return err;
}

static void testbed_remove(struct platform_device *pdev)
{
	struct testbed *tb = platform_get_drvdata(pdev);
	int i;

	misc_deregister(&tb->misc);
	for (i = 0; i < TESTBED_SLOTS; i++)
		slot_put(tb, tb->slots + i, NULL);
	if (tb->own_memory)
		of_reserved_mem_device_release(tb->dev);
}

static const struct of_device_id testbed_ids[] = {
	{ .compatible = "testbed,dma" },
	{ }
};
MODULE_DEVICE_TABLE(of, testbed_ids);

static struct platform_driver testbed_driver = {
	.probe = testbed_probe,
	.remove = testbed_remove,
	.driver = {
		.name = "testbed",
		.of_match_table = testbed_ids,
	},
};
module_platform_driver(testbed_driver);

MODULE_DESCRIPTION("Steers the DMA API from user space, for the pKVM test bed");
MODULE_LICENSE("GPL");
