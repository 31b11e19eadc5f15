// SPDX-License-Identifier: GPL-2.0
/*
 * Has shares and un-shares refused without being done, as the hypervisor may
 * do it: a probe at the entry of the function returns from it.  Allocations of
 * a task fail by /proc/thread-self/fail-nth; only those of a worker, whose
 * task nobody knows before, fail by way of this module.
 */
#include <linux/fs.h>
#include <linux/io.h>
#include <linux/kprobes.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/sched.h>
#include <linux/spinlock.h>
#include <linux/uaccess.h>

#include "faults.h"

/* Serializes the probes; not a lock that lockdep would look at in there */
static arch_spinlock_t lock = __ARCH_SPIN_LOCK_UNLOCKED;
static struct testbed_faults faults;
static struct testbed_seen seen;
static struct task_struct *asker;
/* The range that set_memory_*() is at */
static struct testbed_refusal range;

static bool counts(void)
{
	return asker && (current == asker || current->flags & PF_WQ_WORKER);
}

static bool is_due(u32 which, u32 call)
{
	return which && (call == which || (faults.all_after && call > which));
}

static void note_refusal(void)
{
	if (seen.nr < TESTBED_REFUSALS)
		seen.refused[seen.nr] = range;
	seen.nr++;
}

static int return_eperm(struct pt_regs *regs)
{
	regs_set_return_value(regs, -EPERM);
	instruction_pointer_set(regs, regs->regs[30]);
	return 1;
}

static int at_range(struct pt_regs *regs, bool unshare)
{
	bool refuse = false;

	arch_spin_lock(&lock);
	if (counts()) {
		range = (struct testbed_refusal){
			.addr = __virt_to_phys_nodebug(regs->regs[0]),
			.pages = regs->regs[1],
			.unshare = unshare,
		};
		if (!unshare && !seen.shares)
			seen.alloc_left = current->fail_nth;
		if (unshare)
			refuse = is_due(faults.unshare, ++seen.unshares);
		else
			refuse = is_due(faults.share, ++seen.shares);
		if (refuse)
			note_refusal();
	}
	arch_spin_unlock(&lock);
	return refuse ? return_eperm(regs) : 0;
}
NOKPROBE_SYMBOL(at_range);

static int at_share(struct kprobe *p, struct pt_regs *regs)
{
	return at_range(regs, false);
}
NOKPROBE_SYMBOL(at_share);

static int at_unshare(struct kprobe *p, struct pt_regs *regs)
{
	return at_range(regs, true);
}
NOKPROBE_SYMBOL(at_unshare);

/* A range that is undone has been refused already */
static int at_page(struct kprobe *p, struct pt_regs *regs)
{
	bool refuse = false;

	arch_spin_lock(&lock);
	if (counts()) {
		refuse = is_due(faults.page, ++seen.page_calls);
		if (refuse && range.pages) {
			note_refusal();
			range.pages = 0;
		}
		range.done++;
	}
	arch_spin_unlock(&lock);
	return refuse ? return_eperm(regs) : 0;
}
NOKPROBE_SYMBOL(at_page);

/* A task that does a worker's work itself has its allocations fail as ever */
static bool is_worker(void)
{
	return counts() && current != asker;
}

static int work_begins(struct kretprobe_instance *ri, struct pt_regs *regs)
{
	if (is_worker())
		current->fail_nth = faults.worker_alloc;
	return 0;
}
NOKPROBE_SYMBOL(work_begins);

static int work_ends(struct kretprobe_instance *ri, struct pt_regs *regs)
{
	if (!is_worker())
		return 0;
	if (faults.worker_alloc) {
		faults.worker_alloc = current->fail_nth;
		seen.worker_alloc |= !faults.worker_alloc;
	}
	current->fail_nth = 0;
	return 0;
}
NOKPROBE_SYMBOL(work_ends);

static struct kprobe share_probe = {
	.symbol_name = "set_memory_decrypted", .pre_handler = at_share,
};
static struct kprobe unshare_probe = {
	.symbol_name = "set_memory_encrypted", .pre_handler = at_unshare,
};
static struct kprobe page_probe = {
	.symbol_name = "pkvm_set_granule", .pre_handler = at_page,
};
static struct kretprobe work_probe = {
	.kp.symbol_name = "atomic_pool_work_fn",
	.entry_handler = work_begins, .handler = work_ends, .maxactive = 4,
};

static long faults_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct testbed_faults new = { 0 };
	struct testbed_seen old;
	unsigned long irq;

	if (cmd == TESTBED_IOC_FAULTS) {
		if (copy_from_user(&new, (void __user *)arg, sizeof(new)))
			return -EFAULT;
	} else if (cmd != TESTBED_IOC_SEEN) {
		return -ENOTTY;
	}
	local_irq_save(irq);
	arch_spin_lock(&lock);
	old = seen;
	faults = new;
	asker = cmd == TESTBED_IOC_FAULTS ? current : NULL;
	memset(&seen, 0, sizeof(seen));
	memset(&range, 0, sizeof(range));
	arch_spin_unlock(&lock);
	local_irq_restore(irq);
	if (cmd == TESTBED_IOC_SEEN &&
	    copy_to_user((void __user *)arg, &old, sizeof(old)))
		return -EFAULT;
	return 0;
}

static const struct file_operations faults_fops = {
	.owner = THIS_MODULE,
	.unlocked_ioctl = faults_ioctl,
};

static struct miscdevice faults_misc = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "testbed-faults",
	.fops = &faults_fops,
};

static int __init faults_init(void)
{
	struct kprobe *probes[] = { &share_probe, &unshare_probe, &page_probe };
	int err, i;

	for (i = 0; i < ARRAY_SIZE(probes); i++) {
		err = register_kprobe(probes[i]);
		if (err) {
			pr_err("no probe at %s: %d\n", probes[i]->symbol_name, err);
			goto unregister;
		}
	}
	err = register_kretprobe(&work_probe);
	if (err)
		goto unregister;
	err = misc_register(&faults_misc);
	if (!err)
		return 0;
	unregister_kretprobe(&work_probe);
unregister:
	while (i--)
		unregister_kprobe(probes[i]);
	return err;
}
module_init(faults_init);

static void __exit faults_exit(void)
{
	misc_deregister(&faults_misc);
	unregister_kretprobe(&work_probe);
	unregister_kprobe(&page_probe);
	unregister_kprobe(&unshare_probe);
	unregister_kprobe(&share_probe);
}
module_exit(faults_exit);

MODULE_DESCRIPTION("Refuses shares and un-shares, for the pKVM test bed");
MODULE_LICENSE("GPL");
