"""From the place that a URL names (folder and uid) to the message, in the visitor's own mailbox only."""

from __future__ import annotations

from server.base.errors import Reason, Refused
from server.mail.summary import Summary
from server.mailbox.model import Row
from server.web.visitor import Visitor


async def find(visitor: Visitor, folder_id: int, uid: int) -> tuple[Row, Summary]:
    """A message by its place. Raises Refused: NO_SUCH_FOLDER, NO_SUCH_MESSAGE, CONTENT_DAMAGED."""
    view = await visitor.mailbox.view(folder_id)
    row = next((row for row in view.rows if row.uid == uid), None)
    if row is None:
        raise Refused(Reason.NO_SUCH_MESSAGE, "There is no such message.")
    summary = (await visitor.mailbox.summaries([row.content_id])).get(row.content_id)
    if summary is None:
        raise Refused(Reason.CONTENT_DAMAGED, "This message does not open.")
    return row, summary
