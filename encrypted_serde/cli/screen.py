"""What `show` and `find` print on a terminal. Nothing of a row is markup: it is made printable, and printed as text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rich.console import Console
from rich.table import Table
from rich.text import Text

from .. import view
from ..view.execution import ERROR, INTERRUPT, is_internal, task_name
from ..view.lanes import Drawn, lay_out
from ..view.masking import NOTICE
from ..view.messages import as_message
from ..view.printable import one_line
from ..view.text import MAX_PARTS, MAX_TEXT, cut, pairs_text, short, text_size, time_text, trimmed

_INLINE = 72
_LANES = 12
_ROLE_STYLES = {"user": "bold cyan", "assistant": "bold green", "tool": "bold yellow", "system": "bold magenta"}


# --- lists ------------------------------------------------------------------------------------------------------------


def show_threads(page: view.ThreadPage, to: Console) -> None:
    """Prints a list of threads."""
    table = Table(box=None, header_style="dim", padding=(0, 2, 0, 0))
    table.add_column("thread", overflow="fold")
    table.add_column("checkpoints", justify="right", no_wrap=True)
    table.add_column("newest", no_wrap=True)
    table.add_column("context", overflow="fold")
    table.add_column("verified", overflow="fold")
    for line in page.lines:
        table.add_row(
            Text(one_line(line.id), style="bold"),
            f"{line.checkpoints:,}",
            time_text(line.time),
            Text(pairs_text(line.context)),
            _verified(line),
        )
    to.print(table)
    if page.gone:
        to.print(f"missing: {page.gone:,} threads that the anchor requires", style="bold red")
    more = "; more with --limit" if page.after else ""
    to.print(f"{len(page.lines):,} threads{'' if page.total is None else f' of {page.total:,}'}{more}", style="dim")


def _verified(line: view.ThreadLine) -> Text:
    if line.missing:
        return Text(f"{line.missing:,} checkpoints are missing", style="bold red")
    if line.refused is not None:
        return Text(f"refused: {one_line(str(line.refused))}", style="bold red")
    return Text("all open" if line.checked >= line.checkpoints else f"the newest {line.checked} open", style="green")


def show_missing(missing: Iterable[view.Missing], to: Console) -> None:
    """Prints what an anchor requires and the database does not have."""
    for each in missing:
        where = "" if not each.namespace else f" in {each.namespace}"
        to.print(Text(f"missing: checkpoint {one_line(each.id + where)}, which the anchor requires", style="bold red"))


def show_history(page: view.HistoryPage, to: Console) -> None:
    """Prints a line for each checkpoint, with forks drawn."""
    rows = lay_out(page.spots)[page.start : page.start + len(page.lines)]
    width = min(_LANES, max((row.width for row in rows), default=1))
    show_missing(page.missing, to)
    parents = {(spot.namespace, spot.parent) for spot in page.spots}
    for row, line in zip(rows, page.lines, strict=True):
        waits = (line.spot.namespace, line.spot.id) not in parents
        to.print(Text.assemble(_drawn(row, width, line.refused is not None), " ", *_history_parts(line, waits)))
    to.print(f"{page.total:,} checkpoints", style="dim")


def _drawn(row: Drawn, width: int, refused: bool) -> str:
    cells = [" "] * (2 * width)
    for lane in row.through:
        if lane < width:
            cells[2 * lane] = "\u2502"
    for lane in row.joins:
        if row.lane < lane < width:
            cells[2 * lane] = "\u256f"
            for gap in range(2 * row.lane + 1, 2 * lane):
                cells[gap] = "\u2500" if cells[gap] == " " else "\u253c"
    cells[2 * min(row.lane, width - 1)] = "\u2717" if refused else "\u25cf"
    return "".join(cells)


def _history_parts(line: view.HistoryLine, waits: bool) -> Iterator[Text]:
    yield Text(f"{one_line(line.spot.id)}  ", style="bold")
    if line.refused is not None:
        yield Text(f"hidden: {one_line(str(line.refused))}", style="bold red")
        return
    yield Text(f"{time_text(line.time)}  ")
    yield Text(f"{one_line(line.source)} {'' if line.step is None else line.step}".ljust(10))
    if line.spot.namespace:
        yield Text(f"{one_line(line.spot.namespace)}  ", style="magenta")
    if line.next:
        yield Text(f"\u2192 {one_line(', '.join(line.next))}  ")
    yield Text(one_line(", ".join(line.updated)), style="dim")
    if line.is_entered is False:
        yield Text("  not in the anchor yet", style="yellow")
    if line.interrupts:
        yield Text("  waits at an interrupt" if waits else "  was interrupted", style="bold yellow")
    if line.errors:
        yield Text(f"  {line.errors} failed", style="bold red")


def show_items(items: Iterable[view.Item], to: Console) -> None:
    """Prints items of a store."""
    for item in items:
        to.print(Text(one_line(f"{' / '.join(item.namespace)} / {item.key}"), style="bold"))
        _value(item.value, item.refused, to, "  ")


def show_namespaces(found: Iterable[view.Namespace], to: Console) -> None:
    """Prints the namespaces of a store."""
    for each in found:
        to.print(Text.assemble((one_line(".".join(each.labels)), "bold"), f"  {each.items:,} items"))


def show_findings(found: view.Findings, to: Console) -> None:
    """Prints where a text occurs."""
    for one in found.occurrences:
        place = one_line(" / ".join(filter(None, one.place.values())))
        times = f"{one.checkpoints:,} times" if one.checkpoints > 1 else "once"
        to.print(Text.assemble((f"{one.where}  ", "dim"), (place, "bold"), f"  {times}"))
        to.print(Text(f"  {one_line(one.excerpt)}"))
    to.print(f"{len(found.occurrences):,} places in {found.searched:,} rows", style="dim")
    if found.other_contexts:
        to.print(f"not searched: {found.other_contexts:,} rows of other contexts", style="yellow")
    for reason, count in found.refused.items():
        to.print(Text(f"not searched: {count:,} rows: {one_line(reason)}", style="bold red"))


# --- a checkpoint -----------------------------------------------------------------------------------------------------


def show_checkpoint(found: view.Checkpoint, to: Console, *, all_writes: bool) -> None:
    """Prints the state of a checkpoint, or why it stays hidden."""
    line = found.line
    where = one_line(f"{line.spot.id}{' in ' + line.spot.namespace if line.spot.namespace else ''}")
    to.print(Text.assemble(("checkpoint ", "dim"), (where, "bold")))
    if line.refused is not None:
        to.print(Text(f"hidden: {one_line(str(line.refused))}", style="bold red"))
        return
    state = ("let through by a switch: nothing proves it", "bold yellow") if found.admitted else ("verified", "bold green")
    facts = f"  {time_text(line.time)}, {one_line(line.source)}, step {line.step}, {found.cipher}, key {found.key_id[:12]}"
    to.print(Text.assemble(state, facts, f", {pairs_text(line.context)}" if line.context else ""))
    for channel in found.channels:
        if not is_internal(channel.name):
            _channel(channel, to)
    _title("metadata", to)
    _lines(found.metadata, to, "  ")
    _writes(found.writes, to, all_writes)
    to.print(Text.assemble(("next  ", "bold"), one_line(", ".join(found.next)) or "nothing: the graph is at its end"))


def _channel(channel: view.Channel, to: Console) -> None:
    _title(
        one_line(channel.name)
        + ("" if channel.replayed is None else f", a delta channel: {channel.replayed} writes since its snapshot"),
        to,
    )
    if channel.messages is not None:
        for message in channel.messages[-MAX_PARTS:]:
            _message(message, to)
        if (more := len(channel.messages) - MAX_PARTS) > 0:
            to.print(f"  ... and {more:,} earlier messages", style="dim")
    else:
        _value(channel.value, channel.refused, to, "  ")


def _message(message: view.Message, to: Console) -> None:
    name = f" {one_line(message.name)}" if message.name else ""
    status = f" ({one_line(message.status)})" if message.status not in ("", "success") else ""
    to.print(Text(f"  {message.role}{name}{status}", style=_ROLE_STYLES.get(message.role, "bold")))
    for block in message.blocks:
        if block.text:
            to.print(Text(_indented(_cut(block.text), "    "), style="italic dim" if block.kind != "text" else ""))
        elif block.kind != "text":
            to.print(Text(f"    [{one_line(block.kind)}] {short(block.value)}", style="dim"))
    for call in message.tool_calls:
        wrong = "" if call.is_valid else "  (arguments that cannot be read)"
        to.print(Text(f"    \u2192 {one_line(call.name)} {short(call.arguments)}{wrong}", style="yellow"))


def _writes(writes: tuple[view.Write, ...], to: Console, all_writes: bool) -> None:
    shown = [write for write in writes if all_writes or write.refused or write.channel in (INTERRUPT, ERROR)]
    if writes:
        rest = len(writes) - len(shown)
        _title(f"pending writes{f', {rest} more with --writes' if rest else ''}", to)
    for write in shown:
        style = "bold red" if write.channel == ERROR else "bold yellow" if write.channel == INTERRUPT else ""
        to.print(Text(f"  {one_line(write.channel)}  {one_line(task_name(write.path))}", style=style))
        _value(write.value, write.refused, to, "    ")


def show_changes(changes: Iterable[view.Change], to: Console) -> None:
    """Prints what differs between two checkpoints."""
    signs = {"added": ("+", "green"), "removed": ("-", "red"), "changed": ("~", "yellow")}
    for change in changes:
        sign, style = signs[change.kind]
        to.print(Text(f"{sign} {one_line(' / '.join(change.path))}", style=f"bold {style}"))
        for value, color in ((change.before, "red"), (change.after, "green")):
            if value is not None:
                to.print(Text(_indented(_whole(trimmed(value)), "    "), style=color))


def show_masked(opened: view.View, to: Console) -> None:
    """Prints how much was masked."""
    if opened.mask:
        to.print(f"masked: {opened.mask.hidden:,}. {NOTICE}", style="yellow")


# --- values -----------------------------------------------------------------------------------------------------------


def _title(text: str, to: Console) -> None:
    to.print(Text(text, style="bold underline"))


def _value(value: view.Value | None, refused: view.Refused | None, to: Console, indent: str) -> None:
    if value is None:
        to.print(Text(f"{indent}hidden: {one_line(str(refused))}", style="bold red"))
    elif (message := as_message(value)) is not None:
        _message(message, to)
    else:
        _lines(value, to, indent)


def _lines(value: view.Value, to: Console, indent: str) -> None:
    to.print(Text(_indented(_whole(trimmed(value)), indent)))


def _whole(value: view.Value, depth: int = 0) -> str:
    """Returns a value over several lines."""
    line = short(value, _INLINE)
    if line is not None:
        return line
    if isinstance(value, view.Object):
        return f"{one_line(value.short_name)}\n{_indented(_whole(value.content, depth + 1), '  ')}"
    if isinstance(value, view.Fields):
        parts = [_pair(one_line(short(key) or ""), item, depth) for key, item in value.pairs[:MAX_PARTS]]
        return "\n".join(parts + _more(len(value.pairs)))
    if isinstance(value, view.Sequence):
        parts = [_pair("-", item, depth) for item in value.items[:MAX_PARTS]]
        return "\n".join(parts + _more(len(value.items)))
    return _cut(str(value.value)) if isinstance(value, view.Scalar) else short(value) or ""


def _pair(name: str, value: view.Value, depth: int) -> str:
    text = _whole(value, depth + 1)
    return f"{name}\n{_indented(text, '  ')}" if "\n" in text else f"{name}  {text}"


def _more(count: int) -> list[str]:
    return [f"... and {count - MAX_PARTS:,} more"] if count > MAX_PARTS else []


def _cut(text: str) -> str:
    return cut(text) if len(text) <= MAX_TEXT else f"{cut(text)}\n... {text_size(text)} in all; --json shows it whole"


def _indented(text: str, indent: str) -> str:
    return "\n".join(indent + line for line in text.split("\n"))
