#!/usr/bin/env python3
"""peers.py BENCH.json FOLDER [quick]: AdamW against PyTorch's fused step and DeepSpeed's, where they are installed, on the same tensors.

Rows are added to BENCH.json. One thread: CPU time of the process; rounds are interleaved; ratio is the median of the paired
ratios (over 1: optc is faster). A peer is measured only if its step gives the same parameters to 1e-6. FOLDER holds libadamw_list.so (make bench PEERS=1 builds it)."""
import ctypes, json, os, statistics, sys, time

os.environ["OMP_NUM_THREADS"] = "1"
out, folder, quick = sys.argv[1], sys.argv[2], "quick" in sys.argv[3:]
try:
    import torch
except ImportError:
    print("peers skipped: PyTorch is not installed here (pip install torch deepspeed)")
    sys.exit(0)
torch.set_num_threads(1)
lib = ctypes.CDLL(os.path.join(os.path.abspath(folder), "libadamw_list.so"))

GPT2 = [50257 * 768, 1024 * 768] + 12 * [768, 768, 768 * 2304, 2304, 768 * 768, 768, 768, 768, 768 * 3072, 3072, 3072 * 768, 768] + [768, 768]


def ours(params, grads):
    k = len(params)
    state = [[torch.zeros_like(p) for p in params] for _ in range(2)]
    array = lambda xs: (ctypes.c_void_p * k)(*[x.data_ptr() for x in xs])
    lists = [array(params), array(grads), array(state[0]), array(state[1])]
    n, t = (ctypes.c_int64 * k)(*[p.numel() for p in params]), ctypes.c_int64(0)
    keep = (params, grads, state)

    def step():
        assert lib.adamw_list(*lists, n, ctypes.c_int64(k), ctypes.byref(t), 1) == 0 and keep
    return step


def torch_fused(params, grads):
    ps = [torch.nn.Parameter(p) for p in params]
    for p, g in zip(ps, grads):
        p.grad = g
    return torch.optim.AdamW(ps, lr=1e-3, weight_decay=1e-2, fused=True).step


def deepspeed_cpu(params, grads):
    from deepspeed.ops.adam import DeepSpeedCPUAdam
    ps = [torch.nn.Parameter(p) for p in params]
    for p, g in zip(ps, grads):
        p.grad = g
    return DeepSpeedCPUAdam(ps, lr=1e-3, weight_decay=1e-2, adamw_mode=True).step


def updated(make, steps=3):
    """What some steps make of a few numbers."""
    random = torch.Generator().manual_seed(1)
    params, grads = [torch.randn(1000, generator=random)], [torch.randn(1000, generator=random) * 1e-3]
    step = make(params, grads)
    for _ in range(steps):
        step()
    return params[0]


def problem(make):
    """Why a peer cannot be measured, or None."""
    try:
        worst = float((updated(make) - updated(ours)).abs().max())
    except Exception as e:
        return f"{type(e).__name__}: {(str(e).splitlines() or [''])[0][:100]}"
    return None if worst <= 1e-6 else f"its parameters differ by {worst:.3g}"


peers = []
for name, make in (("torch fused", torch_fused), ("DeepSpeed cpu_adam", deepspeed_cpu)):
    why = problem(make)
    if why:
        print(f"{name} skipped: {why}")
    else:
        peers.append((name, make))
rows = json.load(open(out)) if os.path.exists(out) else []
for what, sizes, repeat, rounds in (("256 Ki in cache", [256 << 10], 40, 31), ("GPT-2 124M, 148 tensors", GPT2, 1, 5 if quick else 15)):
    params, grads = [torch.randn(n) * 0.02 for n in sizes], [torch.randn(n) * 1e-3 for n in sizes]
    mine = ours(params, grads)
    for name, make in peers:
        peer = make(params, grads)
        peer()
        mine()
        seconds = ([], [])
        for r in range(rounds):
            for side, step in enumerate((mine, peer)):
                start = time.process_time()
                for _ in range(repeat):
                    step()
                seconds[side].append((time.process_time() - start) / repeat)
        gb = 28e-9 * sum(sizes)
        row = dict(name=f"adamw {what}, 1 thread", ours=gb / statistics.median(seconds[0]), peer=f"{name} ({torch.__version__})",
                   peer_value=gb / statistics.median(seconds[1]), unit="GB/s", ratio=statistics.median(b / a for a, b in zip(*seconds)), runs=rounds)
        rows.append(row)
        print("%-44s %10.4g  %-26s %10.4g %-8s %7.3f %5d" % (row["name"], row["ours"], row["peer"], row["peer_value"], row["unit"], row["ratio"], rounds))
with open(out + ".part", "w") as f:
    json.dump(rows, f, indent=1)
os.replace(out + ".part", out)
