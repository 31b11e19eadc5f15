#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""trace.py KERNEL SOCKET RUN OUT [LIMIT]: which functions the instructions of a row of the bench are of.

Goes step by step through an operation of each row in a QEMU that waits for a debugger on SOCKET, and through SAMPLES of the
rows that are TRACED, as what one takes depends on where in a pool it comes to lie. RUN is the result of a run of that kernel
before, which says what the rows are; those of more than LIMIT instructions an operation are left out.

OUT is JSON: for each row the instructions an operation by function, those of the driver's loop and of the clock left out; how
many bytes were copied and set, by what memcpy() and memset() were asked for; and how many times the hypervisor was entered,
by a hypercall, a trap or a fault.
"""
import bisect
import json
import os
import re
import subprocess
import sys

sys.dont_write_bytecode = True
from hypercalls import FOR_MODULES, HVC, PC, PSTATE, Debugger, Gone, find_hypercalls, row_of  # noqa: E402
from table import COUNT, TRACED, read  # noqa: E402

COPY = ('memcpy', 'memmove', '__memcpy', '__memmove', '__pi_memcpy', '__pi_memmove')
SET = ('memset', '__memset', '__pi_memset')
PAGE = ('clear_page', '__pi_clear_page')
# Where an operation begins
BEGINS = ('dma_alloc_attrs', 'dma_map_page_attrs', 'dma_map_sgtable')
SAMPLES = 8
CLOCK = re.compile(r'ktime_get|arch_counter_|arch_timer_|arch_sys_counter|timekeeping_|clocksource_')


class Symbols:
    """Whose an address is."""

    def __init__(self, kernel):
        lines = subprocess.run(['aarch64-linux-gnu-nm', '-n', os.path.join(kernel, 'vmlinux')], stdout=subprocess.PIPE,
                               text=True, check=True).stdout.splitlines()
        self.names = {}
        for address, kind, name in (line.split()[:3] for line in lines if len(line.split()) == 3):
            if kind in 'tTwW' and not name.startswith('$'):
                self.names.setdefault(int(address, 16), []).append(name)
            elif name in ('_stext', '_etext'):
                self.names.setdefault(int(address, 16), []).append(name)
        self.addresses = sorted(self.names)
        self.begin, self.end = (next(a for a in self.addresses if n in self.names[a]) for n in ('_stext', '_etext'))

    def name(self, address):
        """A function of the kernel; None for the module and for the hypervisor."""
        if not self.begin <= address < self.end:
            return None
        names = self.names[self.addresses[bisect.bisect(self.addresses, address) - 1]]
        # What the compiler has cut out of a function, or made of it, is its own
        return re.sub(r'\.(constprop|isra|part|cold)\b.*', '', min(names, key=lambda n: (n.startswith('__pi_'), len(n), n)))

    def at(self, names):
        return {a for a in self.addresses if set(self.names[a]) & set(names)}


def is_row(registers):
    return row_of(registers[0] & 0xffffffff, registers[1])


def step(qemu, registers):
    """One instruction of the guest's on; what the hypervisor does for it is not gone through.  Return: the registers there."""
    pc = registers[PC]
    qemu.go('s')
    registers = qemu.registers()
    if registers[PSTATE] >> 2 & 3 != 2:
        return registers, 0
    # It was a hypercall or was trapped, and goes on behind it, or was a fault, and is tried again
    back = (pc, pc + 4)
    qemu.stop_at(back)
    while registers[PC] not in back or registers[PSTATE] >> 2 & 3 == 2:
        qemu.go('s')
        qemu.go('c')
        registers = qemu.registers()
    qemu.stop_at(back, False)
    return registers, 1


def trace_operation(qemu, symbols, calls, registers, again, sums):
    """To where the next operation is as far, or the row ends.  Return: the registers there."""
    copy, fill, page = symbols.at(COPY), symbols.at(SET), symbols.at(PAGE)
    begun = False
    while not (begun and registers[PC] == again or registers[PC] in calls and is_row(registers)):
        pc, begun = registers[PC], True
        name = symbols.name(pc)
        if name and not CLOCK.match(name):
            sums['functions'][name] = sums['functions'].get(name, 0) + 1
        if pc in copy:
            sums['copied'] += registers[2]
        elif pc in fill:
            sums['set'] += registers[2]
        elif pc in page:
            sums['set'] += 4096
        registers, exits = step(qemu, registers)
        sums['exits'] += exits
    return registers


def trace_row(qemu, symbols, calls, registers, operations, samples):
    """From the hypercall that says that the row begins to that which says that it ends."""
    sums = {'functions': {}, 'copied': 0, 'set': 0, 'exits': 0}
    begins = symbols.at(BEGINS)
    every, n, done = max(1, operations // samples), 0, 0
    while registers[PC] not in begins:
        registers, _ = step(qemu, registers)
    # The driver's code, as the host runs its own at the addresses of the kernel's
    again = registers[30]
    if operations == 1:
        # There is no other
        registers = trace_operation(qemu, symbols, calls, registers, None, sums)
    qemu.stop_at([again])
    while not (registers[PC] in calls and is_row(registers)):
        # The last is not whole
        if registers[PC] == again and 0 < n < operations and done < samples and n % every == 1 % every:
            registers = trace_operation(qemu, symbols, calls, registers, again, sums)
            done += 1
        else:
            qemu.go('s')
            qemu.go('c')
            registers = qemu.registers()
        n += registers[PC] == again
    qemu.stop_at([again], False)
    done = done or 1
    functions = {f: round(c / done, 1) for f, c in sorted(sums.pop('functions').items(), key=lambda item: (-item[1], item[0]))}
    return {'operations': done, 'instructions': round(sum(functions.values()), 1), 'functions': functions,
            **{what: round(total / done) for what, total in sums.items()}}


def main(kernel, path, run, out, limit='8000'):
    rows = {}
    for test in read(run).get('test_cases', []):
        count = COUNT.match(test['detail'])
        if count and count[1] != '0' and int(count[3]) / int(count[2]) <= int(limit):
            rows[count[1]] = test['name'].removeprefix('count '), int(count[2])
    calls = find_hypercalls(kernel)
    if not calls or not rows:
        sys.exit(f'trace: no hvc in {kernel}' if rows else f'trace: no row in {run}')
    symbols = Symbols(kernel)
    qemu = Debugger(path)
    # The others matter within a row only, and each stop takes time
    qemu.stop_at({a for a in calls if calls[a] == FOR_MODULES})
    traces = {}
    try:
        running = qemu.go('c')
        while running:
            registers = qemu.registers()
            row = qemu.word(registers[PC]) == HVC and is_row(registers)
            if row in rows:
                name, operations = rows[row]
                traces[name] = trace_row(qemu, symbols, calls, registers, operations, SAMPLES if name in TRACED else 1)
                print(f"trace: {name}: {traces[name]['instructions']} instructions", flush=True)
            running = qemu.go('s') and qemu.go('c')
    except Gone:
        pass
    if not traces:
        sys.exit('trace: no row began')
    with open(out, 'w') as f:
        json.dump(traces, f, indent=1)
        f.write('\n')


if __name__ == '__main__':
    main(*sys.argv[1:])
