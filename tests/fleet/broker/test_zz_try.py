from fleet_workers import *
import pytest
@pytest.mark.parametrize("processes",[False,True])
def test_it(vhost, processes):
    with Fleet(vhost, workers=2, subscriptions=[CHAT,EMBED], processes=processes) as fleet:
        fleet.hold()
        calls = fleet.ask(["one","two","three"])
        fleet.wait_for_runs(2)
        fleet.publish("four")
        fleet.publish("five", request_type="embed")
        fleet.release()
        assert fleet.answers(calls) == ["one","two","three"]
        assert fleet.wait_for_replies(2).keys() == {"four","five"}
        assert fleet.runs("one")==1
        fleet.finish()
