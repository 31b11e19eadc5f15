// SPDX-License-Identifier: GPL-2.0
/*
 * The virtual machine: its vcpus, and who ends it.  What KVM offers is in
 * Documentation/virt/kvm/api.rst, what a protected guest may not have in
 * Documentation/virt/kvm/arm/pkvm.rst.
 *
 * One lock covers the devices.  A vcpu needs it to enter the guest, so whoever
 * holds it keeps all vcpus out that are not in the guest already, and
 * vm_pause() gets out those that are.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vmm.h"

/* Newer than the headers of the oldest distribution that this builds on */
#ifndef KVM_VM_TYPE_ARM_PROTECTED
#define KVM_VM_TYPE_ARM_PROTECTED	(1UL << 31)
#endif

#define GIC_INTERRUPTS	96
#define KICK		SIGUSR1
#define ONE_REG(r)	(KVM_REG_ARM64 | KVM_REG_ARM_CORE | KVM_REG_SIZE_U64 | \
			 KVM_REG_ARM_CORE_REG(r))

struct vcpu {
	unsigned int nr;
	int fd;
	struct kvm_run *run;
	pthread_t thread;
	atomic_bool in_guest;
	uint64_t exits;
	uint64_t last_mmio;
};

static struct vcpu vcpus[MAX_VCPUS];
static unsigned int nr_vcpus;
static int vm_fd = -1;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t ended_cond;
static bool ended;
static enum status end_status;

static __thread struct vcpu *current;

/**
 * vm_stop - end the guest; the first caller decides how
 * @status: what the VMM will report
 * @fmt: why, one line
 *
 * Called with the lock held.
 */
void vm_stop(enum status status, const char *fmt, ...)
{
	char why[256];
	va_list ap;

	if (ended)
		return;
	va_start(ap, fmt);
	vsnprintf(why, sizeof(why), fmt, ap);
	va_end(ap);
	uart_flush();
	report("end: %s", why);
	end_status = status;
	ended = true;
	pthread_cond_signal(&ended_cond);
}

/**
 * vm_pause - get all other vcpus out of the guest
 *
 * Called with the lock held; they stay out until it is released.
 *
 * Return: 0, or -EBUSY if one has not come out within ten seconds.
 */
int vm_pause(void)
{
	uint64_t start = now_us();
	unsigned int i;

	for (i = 0; i < nr_vcpus; i++) {
		struct vcpu *vcpu = vcpus + i;

		if (vcpu == current)
			continue;
		while (vcpu->in_guest) {
			vcpu->run->immediate_exit = 1;
			pthread_kill(vcpu->thread, KICK);
			sched_yield();
			if (now_us() - start > 10000000) {
				report("vcpu%u does not leave the guest", i);
				return -EBUSY;
			}
		}
	}
	return 0;
}

void device_irq(struct device *dev, bool level)
{
	struct kvm_irq_level irq = {
		.irq = KVM_ARM_IRQ_TYPE_SPI << KVM_ARM_IRQ_TYPE_SHIFT | dev->irq,
		.level = level,
	};

	if (dev->irq && ioctl(vm_fd, KVM_IRQ_LINE, &irq))
		report("%s: KVM_IRQ_LINE: %s", dev->name, strerror(errno));
}

static void handle_mmio(struct vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;
	uint64_t addr = run->mmio.phys_addr, val = 0;
	struct device *dev = device_find(addr);

	vcpu->last_mmio = addr;
	if (!dev) {
		vm_stop(STATUS_CRASH, "vcpu%u: %s of %u bytes at %#" PRIx64
			", where there is nothing", vcpu->nr,
			run->mmio.is_write ? "write" : "read", run->mmio.len,
			addr);
		return;
	}
	if (run->mmio.is_write) {
		memcpy(&val, run->mmio.data, run->mmio.len);
		dev->ops->write(dev, addr - dev->base, val, run->mmio.len);
	} else {
		val = dev->ops->read(dev, addr - dev->base, run->mmio.len);
		memcpy(run->mmio.data, &val, run->mmio.len);
	}
}

static void handle_system_event(struct vcpu *vcpu)
{
	if (mailbox_kernel_awaited()) {
		vm_stop(STATUS_CRASH, "the guest has ended, and not come to its next kernel");
		return;
	}
	switch (vcpu->run->system_event.type) {
	case KVM_SYSTEM_EVENT_SHUTDOWN:
		vm_stop(uart_crashed() ? STATUS_CRASH : STATUS_PASS,
			"the guest has switched itself off%s",
			uart_crashed() ? ", after a crash" : "");
		break;
	case KVM_SYSTEM_EVENT_RESET:
		/* With panic=-1 a panic ends here */
		vm_stop(uart_crashed() ? STATUS_CRASH : STATUS_PASS,
			"the guest has restarted%s",
			uart_crashed() ? ", after a crash" : "");
		break;
	default:
		vm_stop(STATUS_CRASH, "vcpu%u: system event %u", vcpu->nr,
			vcpu->run->system_event.type);
	}
}

static void handle_exit(struct vcpu *vcpu)
{
	vcpu->exits++;
	switch (vcpu->run->exit_reason) {
	case KVM_EXIT_MMIO:
		handle_mmio(vcpu);
		break;
	case KVM_EXIT_SYSTEM_EVENT:
		handle_system_event(vcpu);
		break;
	case KVM_EXIT_INTR:
		break;
	case KVM_EXIT_ARM_NISV:
		vm_stop(STATUS_CRASH, "vcpu%u: an access at %#llx that KVM cannot decode",
			vcpu->nr, vcpu->run->arm_nisv.fault_ipa);
		break;
	case KVM_EXIT_FAIL_ENTRY:
		vm_stop(STATUS_CRASH, "vcpu%u: KVM could not enter the guest, reason %#llx",
			vcpu->nr,
			vcpu->run->fail_entry.hardware_entry_failure_reason);
		break;
	default:
		vm_stop(STATUS_CRASH, "vcpu%u: exit %u from KVM_RUN, which the VMM does not know",
			vcpu->nr, vcpu->run->exit_reason);
	}
}

static void *vcpu_main(void *arg)
{
	struct vcpu *vcpu = arg;
	int ret, err;

	current = vcpu;
	pthread_mutex_lock(&lock);
	while (!ended) {
		vcpu->run->immediate_exit = 0;
		vcpu->in_guest = true;
		pthread_mutex_unlock(&lock);

		ret = ioctl(vcpu->fd, KVM_RUN, 0);
		err = errno;

		vcpu->in_guest = false;
		pthread_mutex_lock(&lock);
		if (!ret)
			handle_exit(vcpu);
		else if (err == ENOMEM)
			vm_stop(STATUS_SETUP, "vcpu%u: KVM_RUN: the host refuses the guest more memory",
				vcpu->nr);
		else if (err != EINTR && err != EAGAIN)
			vm_stop(STATUS_CRASH, "vcpu%u: KVM_RUN: %s%s", vcpu->nr,
				strerror(err), err == EFAULT ?
				", as when the host has taken a page back" : "");
	}
	pthread_mutex_unlock(&lock);
	return NULL;
}

static void on_kick(int sig)
{
	/* The signal is only there to interrupt KVM_RUN */
	(void)sig;
}

static int gic_attr(int gic, uint32_t group, uint64_t attr, const void *val)
{
	struct kvm_device_attr a = {
		.group = group, .attr = attr, .addr = (uintptr_t)val,
	};

	return ioctl(gic, KVM_SET_DEVICE_ATTR, &a) ? -errno : 0;
}

/* Documentation/virt/kvm/devices/arm-vgic-v3.rst */
static int create_gic(void)
{
	struct kvm_create_device dev = { .type = KVM_DEV_TYPE_ARM_VGIC_V3 };
	uint32_t interrupts = GIC_INTERRUPTS;
	uint64_t gicd = GICD_BASE, gicr = GICR_BASE;
	int err;

	if (ioctl(vm_fd, KVM_CREATE_DEVICE, &dev))
		return -errno;
	err = gic_attr(dev.fd, KVM_DEV_ARM_VGIC_GRP_ADDR,
		       KVM_VGIC_V3_ADDR_TYPE_DIST, &gicd);
	if (!err)
		err = gic_attr(dev.fd, KVM_DEV_ARM_VGIC_GRP_ADDR,
			       KVM_VGIC_V3_ADDR_TYPE_REDIST, &gicr);
	if (!err)
		err = gic_attr(dev.fd, KVM_DEV_ARM_VGIC_GRP_NR_IRQS, 0,
			       &interrupts);
	if (!err)
		err = gic_attr(dev.fd, KVM_DEV_ARM_VGIC_GRP_CTRL,
			       KVM_DEV_ARM_VGIC_CTRL_INIT, NULL);
	return err;
}

static int create_vcpu(int kvm, unsigned int nr)
{
	int size = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	struct vcpu *vcpu = vcpus + nr;
	struct kvm_vcpu_init init;

	vcpu->nr = nr;
	vcpu->fd = ioctl(vm_fd, KVM_CREATE_VCPU, nr);
	if (size < 0 || vcpu->fd < 0)
		return -errno;
	vcpu->run = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED,
			 vcpu->fd, 0);
	if (vcpu->run == MAP_FAILED)
		return -errno;
	if (ioctl(vm_fd, KVM_ARM_PREFERRED_TARGET, &init))
		return -errno;
	init.features[0] |= 1U << KVM_ARM_VCPU_PSCI_0_2;
	/* The first one starts the others, by PSCI CPU_ON */
	if (nr)
		init.features[0] |= 1U << KVM_ARM_VCPU_POWER_OFF;
	return ioctl(vcpu->fd, KVM_ARM_VCPU_INIT, &init) ? -errno : 0;
}

/**
 * vm_create - make the machine around the guest's memory
 * @count: vcpus, 1 to MAX_VCPUS
 * @protected: as a protected VM; without, for comparison only
 *
 * Return: 0 or a negative errno; what failed has been reported.
 */
int vm_create(unsigned int count, bool protected)
{
	struct kvm_userspace_memory_region region = {
		.guest_phys_addr = RAM_BASE,
		.memory_size = memory_size(),
		.userspace_addr = (uintptr_t)memory_host(),
	};
	struct sigaction sa = { .sa_handler = on_kick };
	int kvm, err;

	sigaction(KICK, &sa, NULL);
	kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (kvm < 0) {
		report("/dev/kvm: %s", strerror(errno));
		return -errno;
	}
	vm_fd = ioctl(kvm, KVM_CREATE_VM,
		      protected ? KVM_VM_TYPE_ARM_PROTECTED : 0UL);
	if (vm_fd < 0) {
		err = -errno;
		report("KVM_CREATE_VM%s: %s", protected ?
		       " of a protected guest" : "", strerror(-err));
		goto out;
	}
	err = ioctl(vm_fd, KVM_SET_USER_MEMORY_REGION, &region) ? -errno : 0;
	if (err) {
		report("KVM_SET_USER_MEMORY_REGION: %s", strerror(-err));
		goto out;
	}
	while (nr_vcpus < count) {
		err = create_vcpu(kvm, nr_vcpus);
		if (err) {
			report("vcpu%u: %s", nr_vcpus, strerror(-err));
			goto out;
		}
		nr_vcpus++;
	}
	err = create_gic();
	if (err)
		report("GICv3: %s", strerror(-err));
out:
	close(kvm);
	return err;
}

static int set_reg(struct vcpu *vcpu, uint64_t id, uint64_t val)
{
	struct kvm_one_reg reg = { .id = id, .addr = (uintptr_t)&val };

	return ioctl(vcpu->fd, KVM_SET_ONE_REG, &reg) ? -errno : 0;
}

/* What a person wants to know about a guest that did not end by itself */
static void report_state(void)
{
	struct device *dev = NULL;
	struct audit audit;
	unsigned int i;
	char buf[256];

	for (i = 0; i < nr_vcpus; i++)
		report("vcpu%u: %" PRIu64 " exits, the last device access at %#"
		       PRIx64, i, vcpus[i].exits, vcpus[i].last_mmio);
	while ((dev = device_next(dev))) {
		if (!dev->ops->describe)
			continue;
		dev->ops->describe(dev, buf, sizeof(buf));
		report("%s: %s", dev->name, buf);
	}
	if (!audit_range(0, 0, &audit))
		report_map(&audit, "at the end");
	audit_free(&audit);
}

/* Nanoseconds of a processor that a vcpu has had */
static uint64_t ran_ns(const struct vcpu *vcpu)
{
	struct timespec t = { 0 };
	clockid_t clock;

	if (!pthread_getcpuclockid(vcpu->thread, &clock))
		clock_gettime(clock, &t);
	return t.tv_sec * 1000000000ULL + t.tv_nsec;
}

/* Does a guest that has come to no end wait, or does it run in circles?  Lets go of the lock. */
static void report_pace(void)
{
	uint64_t before[MAX_VCPUS];
	unsigned int i;

	for (i = 0; i < nr_vcpus; i++)
		before[i] = ran_ns(vcpus + i);
	pthread_mutex_unlock(&lock);
	sleep(1);
	pthread_mutex_lock(&lock);
	for (i = 0; i < nr_vcpus && !ended; i++)
		report("vcpu%u: has run for %" PRIu64 " ms of the last second", i,
		       (ran_ns(vcpus + i) - before[i]) / 1000000);
}

/**
 * vm_run - run the guest to its end
 * @entry: guest physical address of the kernel's first instruction
 * @dtb: that of the device tree (Documentation/arch/arm64/booting.rst: in x0)
 * @timeout: seconds
 *
 * Return: enum status; why has been reported.
 */
int vm_run(uint64_t entry, uint64_t dtb, unsigned int timeout)
{
	pthread_condattr_t attr;
	struct timespec until;
	unsigned int i;
	int err;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&ended_cond, &attr);

	err = set_reg(vcpus, ONE_REG(regs.pc), entry);
	if (!err)
		err = set_reg(vcpus, ONE_REG(regs.regs[0]), dtb);
	if (err) {
		report("vcpu0: KVM_SET_ONE_REG: %s", strerror(-err));
		return STATUS_SETUP;
	}
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += timeout;
	pthread_mutex_lock(&lock);
	for (i = 0; i < nr_vcpus; i++)
		if (pthread_create(&vcpus[i].thread, NULL, vcpu_main, vcpus + i)) {
			nr_vcpus = i;
			vm_stop(STATUS_SETUP, "vcpu%u: no thread", i);
		}
	while (!ended)
		if (pthread_cond_timedwait(&ended_cond, &lock, &until) == ETIMEDOUT) {
			report_pace();
			vm_stop(STATUS_TIMEOUT, "time-out: the guest has not ended after %u s",
				timeout);
		}
	if (!vm_pause() && end_status != STATUS_PASS)
		report_state();
	/* The lock stays held: no vcpu enters the guest again */
	return end_status;
}
