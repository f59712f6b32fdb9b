"""How deeply JSON values stand in each other. Pure."""

from typing import Any


def is_deeper_than(depth_max: int, value: Any) -> bool:
    """Whether more than `depth_max` arrays and objects stand in each other, however deeply."""
    containers: list[Any] = [[value]]
    for _ in range(depth_max + 1):
        containers = [
            child
            for container in containers
            for child in (container.values() if isinstance(container, dict) else container)
            if isinstance(child, dict | list)
        ]
    return bool(containers)
