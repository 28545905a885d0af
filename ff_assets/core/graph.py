"""Directed graphs without recursion, so that depth has no limit."""

from collections.abc import Hashable, Iterable, Mapping
from typing import TypeVar

N = TypeVar("N", bound=Hashable)


def strongly_connected(edges: Mapping[N, Iterable[N]]) -> list[list[N]]:
    """The strongly connected components: sets of nodes that all reach each other.

    The algorithm is S. R. Kosaraju's (Aho, Hopcroft, Ullman: Data Structures and Algorithms,
    1983, section 6.7), in time linear in nodes and edges.

    Args:
        edges: node -> its successors, all of which are keys too.
    """
    back: dict[N, list[N]] = {node: [] for node in edges}
    for node, successors in edges.items():
        for successor in successors:
            back[successor].append(node)
    seen: set[N] = set()
    finished = [node for root in edges for node in _postorder(root, edges, seen)]
    seen.clear()
    components = (_postorder(root, back, seen) for root in reversed(finished))
    return [component for component in components if component]


def _postorder(root: N, edges: Mapping[N, Iterable[N]], seen: set[N]) -> list[N]:
    """What is reached from a node and was not seen before, successors before predecessors."""
    order: list[N] = []
    agenda = [(root, False)]
    while agenda:
        node, entered = agenda.pop()
        if entered:
            order.append(node)
        elif node not in seen:
            seen.add(node)
            agenda.append((node, True))
            agenda.extend((successor, False) for successor in edges[node])
    return order
