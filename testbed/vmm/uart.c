// SPDX-License-Identifier: GPL-2.0
/*
 * The UART: the part of a PL011 that Arm's Server Base System Architecture
 * keeps ("arm,sbsa-uart"), output only, always ready.  It is how a guest still
 * speaks when its DMA is what is broken.
 */
#include <stdio.h>
#include <string.h>

#include "vmm.h"

#define UART_DR		0x00
#define UART_FR		0x18
#define UART_IMSC	0x38
#define UART_RIS	0x3c
#define UART_MIS	0x40

#define FR_RXFE		(1 << 4)
#define FR_TXFE		(1 << 7)
#define INT_TX		(1 << 5)

static char line[512];
static size_t line_len;
static uint32_t imsc;
static bool crashed;
/* A panic is to come, and is no alarm; its report is on the way */
static bool panic_due, panic_said;

/* What the kernel says when it is not well; uart_crashed() tells */
static const char *const alarms[] = {
	"Kernel panic", "Internal error", "Oops", "WARNING:", "BUG:", "KASAN:",
	"UBSAN:", "KFENCE:",
};

void uart_flush(void)
{
	bool due;
	size_t i;

	if (!line_len)
		return;
	line[line_len] = 0;
	due = panic_due && strstr(line, alarms[0]);
	if (due) {
		panic_due = false;
		panic_said = true;
	}
	for (i = 0; i < ARRAY_SIZE(alarms) && !due; i++)
		crashed |= !!strstr(line, alarms[i]);
	if (strstr(line, "Starting crashdump kernel"))
		panic_said = false;
	report_text(panic_said ? "due" : "uart", line, line_len);
	line_len = 0;
}

/* uart_panic_due - one panic is what a test is about, and no alarm */
void uart_panic_due(bool due)
{
	panic_due = due;
	panic_said = false;
}

bool uart_crashed(void)
{
	return crashed;
}

static uint64_t uart_read(struct device *dev, uint64_t offset, unsigned int size)
{
	(void)dev;
	(void)size;
	switch (offset) {
	case UART_FR:
		return FR_RXFE | FR_TXFE;
	case UART_IMSC:
		return imsc;
	case UART_RIS:
		return INT_TX;
	case UART_MIS:
		return INT_TX & imsc;
	}
	return 0;
}

static void uart_write(struct device *dev, uint64_t offset, uint64_t val,
		       unsigned int size)
{
	(void)size;
	switch (offset) {
	case UART_DR:
		if ((char)val == '\n')
			uart_flush();
		else if ((char)val && (char)val != '\r')
			line[line_len++] = val;
		if (line_len == sizeof(line) - 1)
			uart_flush();
		break;
	case UART_IMSC:
		imsc = val;
		device_irq(dev, imsc & INT_TX);
		break;
	}
}

static const struct device_ops uart_ops = {
	.read = uart_read,
	.write = uart_write,
};

static struct device uart = {
	.name = "uart", .base = UART_BASE, .size = PAGE_SIZE, .irq = UART_IRQ,
	.ops = &uart_ops,
};

int uart_init(void)
{
	return device_add(&uart);
}
