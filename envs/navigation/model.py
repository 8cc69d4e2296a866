"""The MuJoCo model of a task. Only what can be touched is in it; marks (goal, hazards, walls) are arithmetic.

What differs between episodes is a state of the bodies, not of the model: the agent starts at a position of its joints,
things that can be pushed hang on free joints, and obstacles that stand still are mocap bodies, which collide like the
ground does and can be put anywhere. So one model serves all environments and all episodes.
"""

from __future__ import annotations

from math import sqrt

from tradeoff.envs.navigation.tasks import Agent, Kind, Task


def model_text(agent: Agent, task: Task) -> str:
    """XML of the model. Bodies follow the order of `task.things`; those that follow a leader come last."""
    things = list(enumerate(task.things))
    fixed = "".join(_fixed(i, kind) for i, kind in things if kind.matter == "fixed")
    free = "".join(_free(i, kind) for i, kind in things if kind.matter in ("free", "driven"))
    leaders = "".join(_leader(i, kind) for i, kind in things if kind.matter == "driven")
    welds = "".join(_weld(i, kind) for i, kind in things if kind.matter == "driven")
    return f"""<mujoco>
      <compiler angle="radian"/>
      <option timestep="{agent.timestep}"/>
      <default>{agent.defaults}<site size=".032" type="sphere"/></default>
      <worldbody>
        <geom name="floor" type="plane" size="3.5 3.5 .1" condim="6"/>
        <body name="agent" pos="0 0 .1">{agent.joints}{agent.parts}<site name="agent"/></body>
        {fixed}{free}{leaders}
      </worldbody>
      <equality>{welds}</equality>
      <sensor>
        <accelerometer site="agent"/><velocimeter site="agent"/><gyro site="agent"/><magnetometer site="agent"/>
        {agent.sensors}
      </sensor>
      <actuator>{agent.motors}</actuator>
    </mujoco>"""


def _fixed(i: int, kind: Kind) -> str:
    shape = "sphere" if kind.name == "buttons" else "cylinder"
    size = f"{kind.size} {kind.height}" if shape == "cylinder" else f"{kind.size}"
    return (
        f'<body name="thing{i}" mocap="true" pos="0 0 {kind.height}">'
        f'<geom name="thing{i}" type="{shape}" size="{size}"/></body>'
    )


def _free(i: int, kind: Kind) -> str:
    size, half = kind.size, kind.size / 2
    geom = f'type="box" density="{kind.density}"'
    parts = f'<geom name="thing{i}" {geom} size="{size} {size} {size}"/>'
    if kind.name == "box":  # a column at each corner, by which it can be pulled
        for k, (a, b) in enumerate(((1, 1), (-1, 1), (1, -1), (-1, -1))):
            parts += f'<geom name="column{k}" {geom} size="{half} {half} {size}" pos="{a * size} {b * size} 0"/>'
    return f'<body name="thing{i}" pos="0 0 {kind.height}"><freejoint/>{parts}</body>'


def _leader(i: int, kind: Kind) -> str:
    # No geom of its own is needed: it is an end of a weld.
    return f'<body name="leader{i}" mocap="true" pos="0 0 {kind.height}"/>'


def _weld(i: int, kind: Kind) -> str:
    # MuJoCo before 3.0, the original's, gave the turns of a weld the weight of its moves. For a cube the two are a
    # factor 1.5 / size^2 apart, and torquescale, squared, puts it back: else gremlins that are hit turn aside.
    scale = sqrt(1.5) / kind.size
    return f'<weld body1="leader{i}" body2="thing{i}" solref=".02 1.5" torquescale="{scale}"/>'
