"""Directed graphs without recursion, so that depth has no limit."""

from collections.abc import Iterable, Mapping


def strongly_connected(edges: Mapping[str, Iterable[str]]) -> list[list[str]]:
    """The strongly connected components: sets of nodes that all reach each other.

    The algorithm is S. R. Kosaraju's (Aho, Hopcroft, Ullman: Data Structures and Algorithms,
    1983, section 6.7), in time linear in nodes and edges.

    Args:
        edges: node -> its successors, all of which are keys too.
    """
    back: dict[str, list[str]] = {node: [] for node in edges}
    for node, successors in edges.items():
        for successor in successors:
            back[successor].append(node)
    seen: set[str] = set()
    finished = [node for root in edges for node in _postorder(root, edges, seen)]
    seen.clear()
    components = (_postorder(root, back, seen) for root in reversed(finished))
    return [component for component in components if component]


def _postorder(root: str, edges: Mapping[str, Iterable[str]], seen: set[str]) -> list[str]:
    """What is reached from a node and was not seen before, successors before predecessors."""
    order: list[str] = []
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
