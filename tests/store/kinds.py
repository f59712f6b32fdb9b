"""Every kind of object that is listed: how to make one, to list and to delete them."""

from ringside_proxy.domain.assistants import Assistant
from ringside_proxy.domain.runs import RunEvent
from ringside_proxy.services import run_transactions
from ringside_proxy.services.run_assembler import CompleteStep
from ringside_proxy.services.run_transactions import Ending
from ringside_proxy.settings.money import WalletSettings
from ringside_proxy.store import (
    accounts,
    assistants,
    customers,
    items,
    run_steps,
    runs,
    threads,
    wallet,
)
from ringside_proxy.store.ledger import Terms
from tests.store.memory import DEVELOPER


class Assistants:
    """Assistants."""

    noun = "assistant"

    def __init__(self, store):
        self.store = store

    def make(self):
        """A new one, at the end; gives its id."""
        assistant = Assistant(id=self.store.new_id("asst"), created_at=0, model="fc:sandbox/echo")
        self.store.write(assistants.insert, assistant, "")
        return assistant.id

    def page(self, query):
        """A page."""
        return self.store.write(assistants.page, DEVELOPER, query)

    def delete(self, name):
        """Removes one."""
        self.store.write(assistants.delete, name, DEVELOPER)


class Threads(Assistants):
    """Threads."""

    noun = "thread"

    def make(self):
        """A new one, at the end; gives its id."""
        return self.store.thread({"app": "one"}).thread.id

    def page(self, query):
        """A page."""
        return self.store.write(threads.page, DEVELOPER, query, {})

    def delete(self, name):
        """Removes one."""
        self.store.write(lambda tx: threads.delete(tx, threads.get(tx, name, DEVELOPER)))


class ThreadsByMetadata(Threads):
    """Threads that carry a pair; between them stand others that do not."""

    def make(self):
        """A new one, at the end; gives its id."""
        self.store.thread({"app": "two"})
        return super().make()

    def page(self, query):
        """A page."""
        return self.store.write(threads.page, DEVELOPER, query, {"app": "one"})


class Customers(Assistants):
    """Customers."""

    noun = "customer"

    def make(self):
        """A new one, at the end; gives its id."""
        name = self.store.new_id("customer")
        self.store.write(customers.create, name, {})
        return name

    def page(self, query):
        """A page."""
        return self.store.write(accounts.page, query, Terms())

    def delete(self, name):
        """Removes one."""
        self.store.write(customers.delete, name)


class Messages(Assistants):
    """A thread's messages; a second thread's stand between them."""

    noun = "message"

    def __init__(self, store):
        super().__init__(store)
        self.other, self.thread = store.thread(), store.thread()

    def make(self):
        """A new one, at the end; gives its id."""
        self.store.message(self.other)
        return self.store.message(self.thread).id

    def page(self, query):
        """A page."""
        return self.store.write(items.message_page, self.thread, query, None)

    def delete(self, name):
        """Removes one."""
        self.store.write(items.delete_message, self.thread, name)


class MessagesOfRun(Messages):
    """What one run wrote; the thread holds a user's messages too."""

    def __init__(self, store):
        super().__init__(store)
        self.store.message(self.thread)
        self.run, self.generation = store.started(self.thread)

    def make(self):
        """A new one, at the end; gives its id."""
        item, changes = self.store.open_message(self.run)
        changes.append(CompleteStep(changes[0].step_id, self.store.now_ms))
        self.store.write(run_transactions.save, self.run, self.generation, changes)
        return item.id

    def page(self, query):
        """A page."""
        return self.store.write(items.message_page, self.thread, query, self.run.id)


class Runs(Messages):
    """A thread's runs; a second thread's stand between them."""

    noun = "run"

    def make(self):
        """A new one, at the end; gives its id."""
        self.store.run(self.other)
        run = self.store.run(self.thread)
        for (active,) in self.store.rows("SELECT id FROM runs WHERE ended_ms IS NULL"):
            self.store.write(run_transactions.finish, active, None, Ending(event=RunEvent.CANCEL))
        return run.id

    def page(self, query):
        """A page."""
        return self.store.write(runs.page, self.thread, query)


class WalletTransactions(Assistants):
    """What moved the wallet: top-ups alone, which a page shows like charges."""

    noun = "wallet transaction"

    def make(self):
        """A new one, at the end; gives its id."""
        return self.store.write(wallet.top_up, 1, None, WalletSettings()).id

    def page(self, query):
        """A page."""
        return self.store.write(wallet.transaction_page, query)


class RunSteps(MessagesOfRun):
    """A run's steps."""

    noun = "run step"

    def make(self):
        """A new one, at the end; gives its id."""
        super().make()
        return self.store.rows("SELECT id FROM run_steps ORDER BY seq DESC")[0][0]

    def page(self, query):
        """A page."""
        return self.store.write(run_steps.page, self.run.seq, query)


DELETABLE = [Assistants, Threads, ThreadsByMetadata, Customers, Messages, MessagesOfRun]
KINDS = [*DELETABLE, Runs, RunSteps, WalletTransactions]
