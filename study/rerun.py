"""rerun.py NET PX OUT SIZE SEED SETS : retrain_all rows, with the fingerprints that other rows of the cell hold."""
import csv, json, sys, time
csv.field_size_limit(10**9)
from pathlib import Path
from advisor.evidence.study import choose_datasets, draw
from advisor.recommendation import plan_for
from advisor.results import append_rows, make_row, metrics_of, read_results
from strategies.networks.network import PretrainedNetwork
from strategies.training.trainer import train
net, px, out, size, seed, sets = sys.argv[1:7]
seed=int(seed); out=Path(out)
rows=read_results(out)
finger={r["dataset"]:r["fingerprint"] for r in rows if r["size"]==size and r["seed"]==str(seed)}
done={(r["dataset"],r["size"],r["seed"]) for r in rows if r["recipe"]=="retrain_all"}
names=sets.split(",") if sets!="all" else sorted(finger)
known=choose_datasets(Path("/tmp/sets"), sorted(names))
network=PretrainedNetwork(backbone=net,image_size=int(px),weights="imagenet")
for name in names:
    if (name,size,str(seed)) in done or name not in finger: continue
    data=draw(known[name], None if size=="full" else int(size), seed)
    sim=json.loads(finger[name])["similarity"]["score"]
    plan=plan_for("retrain_all",network,data,None,similarity=sim,seed=seed)
    assert any(p.largest_step==0.01 for p in plan.phases)
    t=time.time()
    m=metrics_of(train(plan,data,cache=False,baseline=False))
    key=(name,size,str(seed),net,px,"retrain_all")
    append_rows(out,[make_row(key,m,num_images=sum(s!="test" for s in data.split),fingerprint=finger[name])])
    print(name,size,seed,round(100*m["accuracy"],1),round(time.time()-t),flush=True)
