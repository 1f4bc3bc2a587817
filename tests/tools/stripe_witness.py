"""Uses a stand-in for Stripe as Stripe's official library is used, and prints what came of it as JSON.

    python stripe_witness.py URL KEY

Fails by an assertion, or by an error of the library's own.
"""

import json
import sys
import time
import urllib.request

import stripe


def main(url, key):
    stripe.api_key = key
    stripe.api_base = url
    stripe.max_network_retries = 0

    def control(what, body):
        request = urllib.request.Request(f"{url}/_control/{what}", json.dumps(body).encode())
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    control("webhooks", {"held": True})
    endpoint = stripe.WebhookEndpoint.create(url="http://127.0.0.1:9/", enabled_events=["*"])

    # Customers, their metadata, and lists over several pages.
    customers = [
        stripe.Customer.create(name=f"Customer {n}", email=f"c{n}@example.com",
                               metadata={"n": str(n)})
        for n in range(25)
    ]
    assert type(customers[0]) is stripe.Customer and customers[0].object == "customer"
    listed = list(stripe.Customer.list(limit=10).auto_paging_iter())
    assert [it.id for it in listed] == [it.id for it in reversed(customers)], "newest first"
    found = stripe.Customer.list(email="c7@example.com").data
    assert [it.metadata["n"] for it in found] == ["7"]
    customer = stripe.Customer.modify(customers[0].id, metadata={"n": "", "more": "x"})
    assert customer.metadata.to_dict() == {"more": "x"}
    deleted = stripe.Customer.delete(customers[1].id)
    assert deleted.deleted and stripe.Customer.retrieve(customers[1].id).deleted

    # Idempotency: one effect, and a conflict with other parameters.
    once = stripe.Customer.create(name="Once", idempotency_key="k1")
    again = stripe.Customer.create(name="Once", idempotency_key="k1")
    assert once.id == again.id
    assert again.last_response.headers["idempotent-replayed"] == "true"
    try:
        stripe.Customer.create(name="Other", idempotency_key="k1")
        raise AssertionError("the key was used for something else")
    except stripe.IdempotencyError as error:
        assert error.http_status == 400
    control("clock", {"advance_seconds": 24 * 3600 + 1})
    assert stripe.Customer.create(name="Other", idempotency_key="k1").id != once.id

    # Errors.
    for raising, call in [
        (stripe.InvalidRequestError, lambda: stripe.Customer.retrieve("cus_none")),
        (stripe.InvalidRequestError, lambda: stripe.Customer.create(colour="red")),
        (stripe.InvalidRequestError, lambda: stripe.Invoice.create()),
        (stripe.AuthenticationError, lambda: stripe.Customer.list(api_key="sk_test_wrong")),
    ]:
        try:
            call()
            raise AssertionError("no error")
        except raising as error:
            assert error.user_message
    control("faults", {"of": "GET /v1/customers", "kind": {"status": 500}})
    try:
        stripe.Customer.list()
        raise AssertionError("no fault")
    except stripe.APIError as error:
        assert error.http_status == 500
    control("faults", {"of": "GET /v1/customers", "kind": {"status": 429}})
    try:
        stripe.Customer.list()
        raise AssertionError("no fault")
    except stripe.RateLimitError:
        pass
    # The library asks again by itself, with one key: what was lost is found.
    control("faults", {"of": "POST /v1/customers", "kind": "lost"})
    stripe.max_network_retries = 2
    kept = stripe.Customer.create(name="Lost and found")
    stripe.max_network_retries = 0
    assert len([it for it in stripe.Customer.list(limit=100).data
                if it.name == "Lost and found"]) == 1, kept

    # Cards.
    method = stripe.PaymentMethod.attach("pm_card_visa", customer=customer.id)
    assert (method.card.brand, method.card.last4) == ("visa", "4242")
    stripe.Customer.modify(customer.id,
                           invoice_settings={"default_payment_method": method.id})
    expanded = stripe.Customer.retrieve(
        customer.id, expand=["invoice_settings.default_payment_method"])
    assert expanded.invoice_settings.default_payment_method.card.last4 == "4242"
    assert [it.id for it in stripe.PaymentMethod.list(customer=customer.id).data] == [method.id]
    try:
        stripe.PaymentMethod.attach("pm_card_chargeDeclined", customer=customer.id)
        raise AssertionError("it was not declined")
    except stripe.CardError as error:
        assert (error.code, error.http_status) == ("card_declined", 402)
        assert error.error.decline_code == "generic_decline"
    intent = stripe.SetupIntent.create(customer=customer.id, usage="off_session")
    assert intent.client_secret.startswith(intent.id)
    intent = stripe.SetupIntent.confirm(intent.id, payment_method="pm_card_mastercard")
    assert intent.status == "succeeded"
    second = stripe.PaymentMethod.retrieve(intent.payment_method)
    assert second.customer == customer.id
    assert stripe.PaymentMethod.detach(second.id).customer is None
    session = stripe.billing_portal.Session.create(customer=customer.id,
                                                   return_url="https://example.com/")
    assert session.url.startswith("https://billing.stripe.com/")

    # An invoice with items of its own, a discount among them, paid by the card.
    def invoice_of(amounts, **more):
        invoice = stripe.Invoice.create(
            customer=customer.id, currency="usd", auto_advance=False,
            pending_invoice_items_behavior="exclude", metadata={"ours": "inv_1"}, **more)
        assert invoice.status == "draft"
        for n, amount in enumerate(amounts):
            stripe.InvoiceItem.create(
                customer=customer.id, invoice=invoice.id, currency="usd", amount=amount,
                description=f"Line {n}", period={"start": 1772323200, "end": 1775001600},
                metadata={"line": str(n)})
        return invoice

    amounts = [2500, 180000, 75000, -500] + [n for n in range(20)]
    invoice = invoice_of(amounts)
    items = list(stripe.InvoiceItem.list(invoice=invoice.id, limit=7).auto_paging_iter())
    assert sorted(int(it.metadata["line"]) for it in items) == list(range(len(amounts)))
    lines = list(stripe.Invoice.retrieve(invoice.id).lines.auto_paging_iter())
    assert [line.amount for line in lines] == amounts, "in their order, over the pages"
    invoice = stripe.Invoice.finalize_invoice(invoice.id)
    assert (invoice.status, invoice.total) == ("open", sum(amounts))
    assert invoice.number and invoice.hosted_invoice_url and invoice.invoice_pdf
    paid = stripe.Invoice.pay(invoice.id, off_session=True)
    assert (paid.status, paid.amount_paid, paid.amount_remaining) == ("paid", sum(amounts), 0)
    try:
        stripe.Invoice.pay(invoice.id)
        raise AssertionError("it was paid twice")
    except stripe.InvalidRequestError as error:
        assert "already paid" in error.user_message
    payment = stripe.InvoicePayment.list(invoice=invoice.id).data[0]
    charge = stripe.PaymentIntent.retrieve(
        payment.payment.payment_intent, expand=["latest_charge"]).latest_charge
    refund = stripe.Refund.create(charge=charge.id, amount=100)
    assert stripe.Charge.retrieve(refund.charge).amount_refunded == 100
    note = stripe.CreditNote.create(invoice=invoice.id, amount=200, credit_amount=200)
    assert note.type == "post_payment"

    # One that is declined, one that is sent, one that is voided, one that is deleted.
    control("cards", {"id": method.id, "outcome": "declined"})
    refused = stripe.Invoice.finalize_invoice(invoice_of([1000]).id)
    try:
        stripe.Invoice.pay(refused.id)
        raise AssertionError("it was not declined")
    except stripe.CardError as error:
        assert error.code == "card_declined"
    refused = stripe.Invoice.retrieve(refused.id)
    assert (refused.status, refused.attempt_count) == ("open", 1)
    sent = invoice_of([1000], collection_method="send_invoice", days_until_due=7)
    sent = stripe.Invoice.send_invoice(sent.id)
    assert sent.status == "open" and sent.due_date > time.time()
    credited = stripe.CreditNote.create(invoice=sent.id, amount=400)
    assert credited.type == "pre_payment"
    assert stripe.Invoice.retrieve(sent.id).amount_remaining == 600
    assert stripe.Invoice.void_invoice(sent.id).status == "void"
    assert stripe.Invoice.mark_uncollectible(refused.id).status == "uncollectible"
    assert stripe.Invoice.delete(invoice_of([1000]).id).deleted
    statuses = {it.status for it in stripe.Invoice.list(customer=customer.id).auto_paging_iter()}
    assert statuses == {"paid", "void", "uncollectible"}
    rate = stripe.TaxRate.create(display_name="VAT", percentage=19, inclusive=False)
    assert stripe.TaxRate.retrieve(rate.id).percentage == 19

    # Webhooks: the library's own check takes them, and refuses others.
    events = []
    for delivery in control("webhooks/take", {}):
        event = stripe.Webhook.construct_event(
            delivery["body"], delivery["signature"], endpoint.secret, tolerance=10 ** 9)
        events.append(event.type)
        try:
            stripe.Webhook.construct_event(
                delivery["body"] + " ", delivery["signature"], endpoint.secret, tolerance=10 ** 9)
            raise AssertionError("another body was taken")
        except stripe.SignatureVerificationError:
            pass
    for wanted in ["customer.created", "payment_method.attached", "invoice.finalized",
                   "invoice.paid", "invoice.payment_failed", "invoice.voided",
                   "charge.refunded", "credit_note.created"]:
        assert wanted in events, wanted
    kept = stripe.Event.list(type="invoice.paid").data
    assert [it.data.object.id for it in kept] == [invoice.id]
    print(json.dumps({"library": stripe.VERSION, "version": stripe.api_version,
                      "events": len(events)}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
