"""What a pipeline schedule allows on stages of unequal cost: the actions that `trident schedule` prints, timed."""
import dataclasses
import json
import re
import subprocess


@dataclasses.dataclass(frozen=True)
class Allowed:
    stage_shares: list  # of a step's operations
    even_bubble: float  # of stages of equal cost, as `trident schedule` has it
    speedup: float  # over one rank, by operations, communication for nothing


def schedule(trident, name, stages, microbatches):
    command = [trident, "schedule", name, "--stages", str(stages), "--microbatches", str(microbatches), "--json"]
    return json.loads(subprocess.run(command, capture_output=True, check=True, timeout=60).stdout)


def stage_costs(model, stages):
    """Forward, input gradient and weight gradient of every stage, in operations a token. Layers are cut so that the
    dearest stage is as cheap as can be; the head goes with the last layers."""
    weights, scores = 2 * 12 * model.width**2, 4 * model.context * model.width
    layer = (weights + scores, weights + 2 * scores, weights)
    head = [2 * model.vocabulary * model.width] * 3

    def costs(cut):
        ends = [0, *cut, model.layers]
        stages_of = [[part * (end - begin) for part in layer] for begin, end in zip(ends, ends[1:])]
        stages_of[-1] = [own + more for own, more in zip(stages_of[-1], head)]
        return stages_of

    cuts = cuts_of(model.layers, stages)
    return min(map(costs, cuts), key=lambda one: (max(map(sum, one)), sum(sum(stage) ** 2 for stage in one)))


def cuts_of(layers, stages, first=1):
    if stages == 1:
        return [()]
    return [(cut, *rest) for cut in range(first, layers) for rest in cuts_of(layers, stages - 1, cut + 1)]


def makespan(actions, costs):
    """Time until every rank has done its list. A stage's forward waits for the one before, its input gradient for the
    one behind."""
    ends, clocks, left = {}, [0.0] * len(actions), [list(map(parse, own)) for own in actions]
    while any(left):
        ready = [rank for rank, own in enumerate(left) if own and waits_for(own[0], len(costs)) <= ends.keys()]
        if not ready:
            raise RuntimeError("the schedule cannot run to its end")
        for rank in ready:
            action = left[rank].pop(0)
            begin = max([clocks[rank], *(ends[other] for other in waits_for(action, len(costs)))])
            clocks[rank] = begin + duration(action, costs)
            ends[key(action)] = clocks[rank]
    return max(clocks)


def parse(action):
    stage, op, microbatch = re.fullmatch(r"(\d+)([FBIW])(\d+)", action).groups()
    return int(stage), op, int(microbatch)


def key(action):
    stage, op, microbatch = action
    return stage, "I" if op == "B" else op, microbatch


def waits_for(action, stages):
    stage, op, microbatch = key(action)
    if op == "F":
        return {(stage - 1, "F", microbatch)} if stage > 0 else set()
    if op == "I" and stage + 1 < stages:
        return {(stage + 1, "I", microbatch)}
    return set()


def duration(action, costs):
    forward, input_gradient, weight_gradient = costs[action[0]]
    return {"F": forward, "I": input_gradient, "W": weight_gradient, "B": input_gradient + weight_gradient}[action[1]]


def allowed(trident, model, layout):
    microbatches = model.batch // layout.dp // layout.micro_batch(model)
    plan = schedule(trident, layout.schedule, layout.pp, microbatches)
    if makespan(plan["actions"], [(1, 1, 1)] * layout.pp) != plan["makespan"]:
        raise RuntimeError(f"{layout.schedule}: timed otherwise than by trident schedule")
    costs = stage_costs(model, layout.pp)
    total = sum(map(sum, costs))
    speedup = microbatches * total / makespan(plan["actions"], costs)
    return Allowed([sum(stage) / total for stage in costs], plan["bubble_ratio"], speedup)
