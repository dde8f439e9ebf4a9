#include "kernels/attention.h"
#include <cmath>
#include <vector>
namespace trident {
namespace {
template<class T> double get(const T* p){ if constexpr(std::is_same_v<T,bfloat16>) return double(float(*p)); else return double(*p);} 
template<class T> void put(T* p,double v){ if constexpr(std::is_same_v<T,bfloat16>) *p=bfloat16(float(v)); else *p=T(v);} 
template<class T,class A> void fwd(const AttentionShape&s,const Tensor&qkv,Tensor&out,Tensor&lse){
 const T*x=qkv.data<T>();T*o=out.data<T>();A*l=lse.data<A>();int64_t C=s.qkv_columns(),D=s.head_dim;
 for(int64_t b=0;b<s.batch;b++)for(int64_t h=0;h<s.heads;h++){int64_t kh=h/(s.heads/s.kv_heads);
  for(int64_t t=0;t<s.sequence;t++){const T*q=x+(b*s.sequence+t)*C+h*D;std::vector<double>p(size_t(t+1));double m=-1e300;
   for(int64_t u=0;u<=t;u++){const T*k=x+(b*s.sequence+u)*C+(s.heads+kh)*D;double d=0;for(int64_t i=0;i<D;i++)d+=get(q+i)*get(k+i);p[size_t(u)]=d/std::sqrt(double(D));m=std::max(m,p[size_t(u)]);}
   double z=0;for(auto&v:p)z+=(v=std::exp(v-m));
   l[(b*s.heads+h)*s.sequence+t]=A(m+std::log(z));
   for(int64_t i=0;i<D;i++){double a=0;for(int64_t u=0;u<=t;u++)a+=p[size_t(u)]/z*get(x+(b*s.sequence+u)*C+(s.heads+s.kv_heads+kh)*D+i);put(o+(b*s.sequence+t)*s.heads*D+h*D+i,a);}
  }}}
template<class T,class A> void bwd(const AttentionShape&s,const Tensor&qkv,const Tensor&out,const Tensor&lse,const Tensor&dout,Tensor&dqkv){
 const T*x=qkv.data<T>();const T*o=out.data<T>();const T*g=dout.data<T>();const A*l=lse.data<A>();T*dx=dqkv.data<T>();int64_t C=s.qkv_columns(),D=s.head_dim,S=s.sequence;
 std::vector<double>acc(size_t(s.batch*S*C),0.0);
 for(int64_t b=0;b<s.batch;b++)for(int64_t h=0;h<s.heads;h++){int64_t kh=h/(s.heads/s.kv_heads);
  for(int64_t t=0;t<S;t++){const T*q=x+(b*S+t)*C+h*D;const T*gg=g+(b*S+t)*s.heads*D+h*D;const T*oo=o+(b*S+t)*s.heads*D+h*D;double dl=0;for(int64_t i=0;i<D;i++)dl+=get(gg+i)*get(oo+i);
   for(int64_t u=0;u<=t;u++){const T*k=x+(b*S+u)*C+(s.heads+kh)*D;const T*v=x+(b*S+u)*C+(s.heads+s.kv_heads+kh)*D;double d=0,dp=0;for(int64_t i=0;i<D;i++){d+=get(q+i)*get(k+i);dp+=get(gg+i)*get(v+i);}
    double p=std::exp(d/std::sqrt(double(D))-double(l[(b*s.heads+h)*S+t]));double ds=p*(dp-dl)/std::sqrt(double(D));
    double*aq=&acc[size_t((b*S+t)*C+h*D)],*ak=&acc[size_t((b*S+u)*C+(s.heads+kh)*D)],*av=&acc[size_t((b*S+u)*C+(s.heads+s.kv_heads+kh)*D)];
    for(int64_t i=0;i<D;i++){aq[i]+=ds*get(k+i);ak[i]+=ds*get(q+i);av[i]+=p*get(gg+i);} } } }
 for(size_t i=0;i<acc.size();i++)put(dx+i,acc[i]);}
template<class T> void cached(const AttentionShape&s,int64_t first,const Tensor&qkv,const Tensor&K,const Tensor&V,Tensor&out){
 const T*x=qkv.data<T>();const T*k=K.data<T>();const T*v=V.data<T>();T*o=out.data<T>();int64_t C=s.qkv_columns(),D=s.head_dim,cap=K.dim(1),W=s.kv_heads*D;
 for(int64_t b=0;b<s.batch;b++)for(int64_t h=0;h<s.heads;h++){int64_t kh=h/(s.heads/s.kv_heads);for(int64_t t=0;t<s.sequence;t++){const T*q=x+(b*s.sequence+t)*C+h*D;int64_t n=first+t+1;std::vector<double>p(size_t(n),0.0);double m=-1e300;
  for(int64_t u=0;u<n;u++){double d=0;for(int64_t i=0;i<D;i++)d+=get(q+i)*get(k+(b*cap+u)*W+kh*D+i);p[size_t(u)]=d/std::sqrt(double(D));m=std::max(m,p[size_t(u)]);}double z=0;for(auto&w:p)z+=(w=std::exp(w-m));
  for(int64_t i=0;i<D;i++){double a=0;for(int64_t u=0;u<n;u++)a+=p[size_t(u)]/z*get(v+(b*cap+u)*W+kh*D+i);put(o+(b*s.sequence+t)*s.heads*D+h*D+i,a);}}}}
}
void attention_forward(const Stream&st,const AttentionShape&s,const Tensor&qkv,Tensor&out,Tensor&lse){ if(st.device().kind==DeviceKind::meta)return; switch(qkv.dtype()){case DType::fp64:fwd<double,double>(s,qkv,out,lse);break;case DType::fp32:fwd<float,float>(s,qkv,out,lse);break;default:fwd<bfloat16,float>(s,qkv,out,lse);} }
void attention_backward(const Stream&st,const AttentionShape&s,const Tensor&qkv,const Tensor&out,const Tensor&lse,const Tensor&dout,Tensor&dqkv){ if(st.device().kind==DeviceKind::meta)return; switch(qkv.dtype()){case DType::fp64:bwd<double,double>(s,qkv,out,lse,dout,dqkv);break;case DType::fp32:bwd<float,float>(s,qkv,out,lse,dout,dqkv);break;default:bwd<bfloat16,float>(s,qkv,out,lse,dout,dqkv);} }
void attention_cached(const Stream&,const AttentionShape&s,int64_t f,const Tensor&qkv,const Tensor&K,const Tensor&V,Tensor&out){ switch(qkv.dtype()){case DType::fp64:cached<double>(s,f,qkv,K,V,out);break;case DType::fp32:cached<float>(s,f,qkv,K,V,out);break;default:cached<bfloat16>(s,f,qkv,K,V,out);} }
}
